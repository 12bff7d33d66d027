/** Typed facade of romulus-bench, the engine's yardsticks: a process of its own, so that nothing of Node is in the figures. */

import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { RomulusError } from '../shared/errors.ts';

/**
 * Where `limit-read` reads the bitmap once, `limit-list` also writes as many numbers in order as there are dirty pages, and
 * `naive` is one bit test per page, as in Xen's save loop. `+list` also writes all page numbers out and clears the bitmap, which
 * an encode does some words at a time.
 */
export type ScanMethod =
  | 'limit-read'
  | 'limit-list'
  | 'naive'
  | 'portable'
  | 'portable+list'
  | 'romulus'
  | 'romulus+list'
  | 'romulus-threads';

export interface ScanRow {
  guestGiB: number;
  /** Share of pages that are dirty, 0 to 1. */
  density: number;
  /** 'random', 'runs', or the trace whose middle epoch was tiled to the guest's size. */
  shape: string;
  method: ScanMethod;
  /** Whether the bitmap was out of the caches before. */
  cache: 'cold' | 'warm';
  ns: number;
  pages: number;
}

/**
 * `limit-*` are the machine's own rates: `limit-follow` compares both versions and writes changed lines over the old ones,
 * `limit-update` reads both and writes the new one twice; `pages` sends dirty pages as they are; `+cache` counts QEMU's copies around its format; `romulus` cuts changes into bytes.
 */
export type DeltaMethod =
  | 'limit-read'
  | 'limit-compare'
  | 'limit-follow'
  | 'limit-copy'
  | 'limit-update'
  | 'pages'
  | 'pages+snappy'
  | 'xbzrle'
  | 'xbzrle-simd'
  | 'xbzrle-simd+cache'
  | 'romulus'
  | 'romulus-words'
  | 'romulus+snappy'
  | 'romulus+copies'
  | 'romulus+zstd1'
  | 'romulus+copies+zstd1'
  | 'romulus+zstd-fast3'
  | 'romulus-words+zstd1'
  | 'romulus-words+zstd2'
  | 'romulus-words+copies+zstd1'
  | 'romulus-words+zstd1long'
  | 'romulus-words+zstd3';

/** Sums over all epochs of a trace but the first; the median of the rounds. */
export interface DeltaRow {
  trace: string;
  method: DeltaMethod;
  threads: number;
  pages: number;
  rawBytes: number;
  deltaBytes: number;
  /** After compression; equal to deltaBytes where there is none. */
  wireBytes: number;
  ns: number;
  /** Processor time of all threads: what to compare on a loaded machine. */
  cpuNs: number;
  /** Raw bytes per wall time. */
  gbPerS: number;
  /** Raw bytes per processor time. */
  gbPerCpuS: number;
}

export interface BenchOptions {
  /** Repetitions, of which the median counts. Default 3. */
  rounds?: number;
  /** Doubling from 1 up to this. Default 2. */
  threads?: number;
}

/** A trace file (zstd, FTRACE1), or one of the made-up loads: every word of 32 MiB changes, or 8 words in each page. */
export type Load = string | 'dense' | 'sparse';

const execute = promisify(execFile);
const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;

async function bench<Row>(what: string, args: string[]): Promise<Row[]> {
  const program = join(dirname(createRequire(import.meta.url).resolve('#engine')), 'romulus-bench');
  if (!existsSync(program)) {
    throw new RomulusError('PREREQUISITE', 'romulus-bench is not built', { hint: 'node native/build.mjs' });
  }
  try {
    const { stdout } = await execute(program, [what, ...args], { maxBuffer: MAX_OUTPUT_BYTES });
    return JSON.parse(stdout) as Row[];
  } catch (cause) {
    const text = (cause as { stderr?: string }).stderr?.trim() || String(cause);
    throw new RomulusError('ENGINE', `bench ${what}: ${text}`, { cause, hint: 'romulus doctor' });
  }
}

function common({ rounds = 3, threads = 2 }: BenchOptions): string[] {
  return ['--rounds', String(rounds), '--threads', String(threads)];
}

/** Lists dirty pages of bitmaps of guests of the given sizes, made up and from the middle epochs of traces. */
export function benchScan(
  guestGiB: number[],
  traces: string[],
  options: BenchOptions = {},
): Promise<ScanRow[]> {
  return bench('scan', [...common(options), ...guestGiB.flatMap((gib) => ['--gib', String(gib)]), ...traces]);
}

/** Encodes (and compresses) the loads' epochs, both versions of the pages cold. */
export function benchDelta(loads: Load[], options: BenchOptions = {}): Promise<DeltaRow[]> {
  return bench('delta', [...common(options), ...loads]);
}

/** Applies the loads' epochs to an image, its pages cold. */
export function benchApply(loads: Load[], options: BenchOptions = {}): Promise<DeltaRow[]> {
  return bench('apply', [...common(options), ...loads]);
}
