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

const pair = ({ p50, p99 }: { p50: number; p99: number }) => `${p50.toFixed(1)} / ${p99.toFixed(1)}`;
const grown = ({ first, last }: { first: number; last: number }) =>
  `${formatBytes(first)} -> ${formatBytes(last)}`;

function diskText(rows: BenchRows['disk']): string {
  return table([
    ['CLIENT', 'LOAD', 'AT A TIME', 'ACCESS', 'REQUESTS/S', 'MiB/S', 'OVERHEAD'],
    ...rows.map((row) => [
      row.client,
      `${row.blockBytes / 1024} KiB ${row.op}${row.flushEvery > 0 ? `, flush every ${row.flushEvery}` : ''}`,
      String(row.depth),
      row.access,
      String(row.requestsPerS),
      String(row.mibPerS),
      row.overhead === 0 ? '-' : `${(row.overhead * 100).toFixed(0)} %`,
    ]),
  ]);
}

function epochText(rows: BenchRows['epoch']): string {
  const epochs = rows.flatMap((row) => (row.kind === 'epoch' ? [row] : []));
  const failovers = rows.flatMap((row) => (row.kind === 'failover' ? [row] : []));
  const latencies = rows.flatMap((row) => (row.kind === 'latency' ? [row] : []));
  const throughputs = rows.flatMap((row) => (row.kind === 'throughput' ? [row] : []));
  const tables = [
    [
      ['ASKED', 'EPOCHS', 'PERIOD p50 / p99 ms', 'PAUSE p50 / p99 ms', 'STOP + CAPTURE + RESUME'],
      ...epochs.map(({ epochMs, epochs: count, periodMs, pauseMs, partsMs }) => [
        formatMs(epochMs),
        String(count),
        pair(periodMs),
        pair(pauseMs),
        `${partsMs.stop.toFixed(1)} + ${partsMs.capture.toFixed(1)} + ${partsMs.resume.toFixed(1)}`,
      ]),
    ],
    [
      ['ASKED', 'COMMIT p50 / p99 ms', 'DIRTY PAGES', 'SENT OF RAW', 'PRIMARY OWN', 'BACKUP OWN'],
      ...epochs.map((row) => [
        formatMs(row.epochMs),
        pair(row.commitMs),
        String(row.dirtyPagesP50),
        `${(100 * row.wireShare).toFixed(2)} %`,
        grown(row.primaryBytes),
        grown(row.backupBytes),
      ]),
    ],
    [
      ['GUEST', 'FAILOVERS', 'DECISION TO RUNNING p50', 'MAX'],
      ...failovers.map((row) => [
        `${row.memoryMiB} MiB`,
        String(row.failovers),
        formatMs(row.decisionToRunningMs.p50),
        formatMs(row.decisionToRunningMs.max),
      ]),
    ],
    [
      ['EPOCH', 'REQUESTS', 'REQUEST p50 / p99 ms', 'ADDED p50 / p99 ms', 'PAUSE p50'],
      ...latencies.map((row) => [
        row.epochMs === 0 ? 'unprotected' : formatMs(row.epochMs),
        String(row.requests),
        pair(row.latencyMs),
        pair(row.addedMs),
        formatMs(row.pauseMsP50),
      ]),
    ],
    [
      ['EPOCH', 'CLIENTS', 'REQUESTS/S', 'OF UNPROTECTED'],
      ...throughputs.map((row) => [
        row.epochMs === 0 ? 'unprotected' : formatMs(row.epochMs),
        String(row.clients),
        row.requestsPerS.toFixed(0),
        `${(100 * row.share).toFixed(0)} %`,
      ]),
    ],
  ];
  return tables
    .filter((rowsOfOne) => rowsOfOne.length > 1)
    .map((rowsOfOne) => table(rowsOfOne))
    .join('\n\n');
}

function failoverText(rows: BenchRows['failover']): string {
  const fleets = rows.flatMap((row) => (row.what === 'fleet' ? [row] : []));
  const kills = rows.flatMap((row) => (row.what === 'failover' ? [row] : []));
  return fleets.length > 0 ? fleetText(fleets) : killsText(kills);
}

function fleetText(rows: Extract<BenchRows['failover'][number], { what: 'fleet' }>[]): string {
  return table([
    [
      'VMS',
      'SILENCE',
      'EPOCH',
      'PROTECTED IN',
      'TO CLAIM p50/max',
      'TO RUNNING p50/p99/max',
      'LOST',
      'TWO ACTIVE',
    ],
    ...rows.map(({ detectedMs, runningMs, ...row }) => [
      String(row.vms),
      formatMs(row.silenceMs),
      formatMs(row.epochMs),
      formatMs(row.protectMs),
      `${formatMs(detectedMs.p50)} / ${formatMs(detectedMs.max)}`,
      `${formatMs(runningMs.p50)} / ${formatMs(runningMs.p99)} / ${formatMs(runningMs.max)}`,
      String(row.lost),
      String(row.twoActive),
    ]),
  ]);
}

function killsText(rows: Extract<BenchRows['failover'][number], { what: 'failover' }>[]): string {
  const both = ({ p50, p99 }: { p50: number; p99: number }) => `${formatMs(p50)} / ${formatMs(p99)}`;
  return table([
    [
      'KILLS',
      'SILENCE',
      'TO CLAIM p50/p99',
      'TO RUNNING p50/p99',
      'OF IT START',
      'BACK TO PROTECTED',
      'UNPROTECTED',
      'LOST',
      'TWO ACTIVE',
    ],
    ...rows.map((row) => [
      String(row.kills),
      formatMs(row.silenceMs),
      both(row.detectedMs),
      both(row.runningMs),
      both(row.decisionToRunningMs),
      both(row.protectedAgainMs),
      String(row.unprotected),
      String(row.lost),
      String(row.twoActive),
    ]),
  ]);
}

function xenText(rows: BenchRows['xen']): string {
  const ms = (value: number | null) => (value === null ? '-' : formatMs(value));
  const quantiles = (at: { p50: number; p99: number } | null) =>
    at === null ? '-' : `${ms(at.p50)} / ${ms(at.p99)}`;
  return table([
    ['METHOD', 'EPOCHS', 'PAUSE p50/p99', 'STOOD p50/p99', 'DOWN', 'DIRTY PAGES', 'BYTES', 'TAKES'],
    ...rows.map((row) => [
      row.method,
      String(row.epochs),
      quantiles(row.pauseMs),
      quantiles(row.stoodMs),
      ms(row.downMs),
      String(row.dirtyPages ?? '-'),
      row.bytes === null ? '-' : formatBytes(row.bytes),
      ms(row.takesMs),
    ]),
  ]);
}

export function benchText<P extends BenchPart>(part: P, rows: BenchRows[P]): string {
  switch (part) {
    case 'scan':
      return scanText(rows as BenchRows['scan']);
    case 'wire':
      return wireText(rows as BenchRows['wire']);
    case 'disk':
      return diskText(rows as BenchRows['disk']);
    case 'failover':
      return failoverText(rows as BenchRows['failover']);
    case 'xen':
      return xenText(rows as BenchRows['xen']);
    case 'epoch':
      return epochText(rows as BenchRows['epoch']);
    default:
      return deltaText(rows as BenchRows['delta']);
  }
}
