/** Benchmark rows as tables for people: each method beside its baseline. */

import type { BenchPart, BenchRows } from '../bench/run.ts';
import { formatBytes, formatMs } from '../shared/config.ts';
import { table } from './output.ts';

/** "  1.3x": how many times `a` is `b`. */
function times(a: number, b: number | undefined): string {
  return b === undefined || b === 0 || a === 0 ? '-' : `${(a / b).toFixed(a / b < 10 ? 2 : 0)}x`;
}

function scanText(rows: BenchRows['scan']): string {
  const key = (row: BenchRows['scan'][number]) =>
    `${row.guestGiB} ${row.shape} ${row.density} ${'cache' in row ? row.cache : ''}`;
  const naive = new Map(rows.filter((row) => row.method === 'naive').map((row) => [key(row), row.ns]));
  const read = new Map(rows.filter((row) => row.method === 'limit-read').map((row) => [key(row), row.ns]));
  return table([
    ['GUEST', 'BITMAP', 'DIRTY', 'CACHE', 'METHOD', 'TIME', 'NAIVE / IT', 'IT / READING ONCE'],
    ...rows.map((row) => [
      `${row.guestGiB} GiB`,
      row.shape,
      `${(100 * row.density).toFixed(3)} %`,
      'cache' in row ? row.cache : '-',
      row.method,
      `${(row.ns / 1000).toFixed(1)} us`,
      times(naive.get(key(row)) ?? 0, row.ns),
      times(row.ns, read.get(key(row))),
    ]),
  ]);
}

function deltaText(rows: BenchRows['delta']): string {
  const baseline = new Map(
    rows
      .filter((row) => row.method === 'xbzrle-simd' && row.threads === 1)
      .map((row) => [row.trace, { bytes: row.wireBytes, cpuNs: row.cpuNs }]),
  );
  return table([
    ['TRACE', 'METHOD', 'THREADS', 'SENT', 'OF RAW', 'XBZRLE / IT', 'WALL', 'CPU/PAGE', 'SPEED / XBZRLE'],
    ...rows.map((row) => [
      row.trace,
      row.method,
      String(row.threads),
      formatBytes(row.wireBytes),
      `${((100 * row.wireBytes) / Math.max(1, row.rawBytes)).toFixed(2)} %`,
      times(baseline.get(row.trace)?.bytes ?? 0, row.wireBytes),
      `${row.gbPerS.toFixed(2)} GB/s`,
      `${(row.cpuNs / 1000 / Math.max(1, row.pages)).toFixed(2)} us`,
      times(baseline.get(row.trace)?.cpuNs ?? 0, row.cpuNs),
    ]),
  ]);
}

function wireText(rows: BenchRows['wire']): string {
  return table([
    ['WHAT', 'METHOD', 'SIZE', 'p50', 'p99', 'RATE'],
    ...rows.map((row) => [
      row.what,
      row.method,
      formatBytes(row.bytes),
      row.roundTripUs ? `${row.roundTripUs.p50} us` : '-',
      row.roundTripUs ? `${row.roundTripUs.p99} us` : '-',
      row.gbPerS === undefined ? '-' : `${row.gbPerS} GB/s`,
    ]),
  ]);
}

function epochText(rows: BenchRows['epoch']): string {
  return rows
    .map((row) =>
      row.kind === 'epoch'
        ? `epochs of ${row.epochMs} ms: every ${formatMs(row.periodMs.p50)}, pause ${formatMs(row.pauseMs.p50)} / ${formatMs(row.pauseMs.p99)}, acknowledged after ${formatMs(row.commitMs.p50)} / ${formatMs(row.commitMs.p99)}, sent ${(100 * row.wireShare).toFixed(1)} % of raw`
        : `failover of ${row.memoryMiB} MiB: running ${formatMs(row.decisionToRunningMs.p50)} after the decision, ${formatMs(row.decisionToRunningMs.max)} at most`,
    )
    .join('\n');
}

export function benchText<P extends BenchPart>(part: P, rows: BenchRows[P]): string {
  switch (part) {
    case 'scan':
      return scanText(rows as BenchRows['scan']);
    case 'wire':
      return wireText(rows as BenchRows['wire']);
    case 'epoch':
      return epochText(rows as BenchRows['epoch']);
    default:
      return deltaText(rows as BenchRows['delta']);
  }
}
