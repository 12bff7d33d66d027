/** What a dry run found, as a table and the advice that follows from it. */

import { formatBytes, formatMs } from '../shared/config.ts';
import type { DryRunRow } from './dry-run.ts';
import { table } from './output.ts';

/** A guest that stands still for longer than this share of its time feels it. */
const BEARABLE_PAUSE_SHARE = 0.1;

export function dryRunText(vm: string, linkBitsPerS: number, rows: DryRunRow[]): string {
  const head = ['EPOCH', 'PAUSE p50/p99', 'STILL', 'DIRTY p50', 'RAW/s', 'WIRE/s', 'OUTPUT DELAY mean/p99'];
  const lines = rows.map((row) => [
    formatMs(row.epochMs),
    `${formatMs(row.pauseMs.p50)} / ${formatMs(row.pauseMs.p99)}`,
    `${(100 * row.pauseShare).toFixed(1)} %`,
    `${row.dirtyPages.p50} pages`,
    formatBytes(row.rawBytesPerS),
    formatBytes(row.wireBytesPerS),
    `${formatMs(row.outputDelayMs.mean)} / ${formatMs(row.outputDelayMs.p99)}`,
  ]);
  const shortest = rows.find(
    (row) => row.pauseShare <= BEARABLE_PAUSE_SHARE && row.wireBytesPerS * 8 < linkBitsPerS,
  );
  const advice =
    shortest === undefined
      ? 'this guest writes too much for any of these epochs on this link'
      : `shortest epoch with at most 10 % standstill: romulus protect ${vm} --to HOST --epoch ${shortest.epochMs}ms`;
  return [table([head, ...lines]), advice].join('\n');
}
