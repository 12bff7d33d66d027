/** `romulus protect --dry-run`: checkpoints a live guest without sending anything, at several epoch lengths. */

import { setTimeout as delay } from 'node:timers/promises';
import { Capture, type CapturedChunk } from '../primary/epoch/capture.ts';
import type { Source } from '../primary/hypervisor/source.ts';
import { Samples } from '../shared/samples.ts';
import { CodecChoice } from '../shared/wire/codec-choice.ts';
import { compressPayload } from '../shared/wire/compression.ts';
import { LinkRate } from '../shared/wire/link-rate.ts';

export const DRY_RUN_EPOCHS_MS = [10, 25, 50, 100, 200, 500] as const;
/** Each length is measured for this long, and for this many epochs at least. */
const MEASURE_MS = 2000;
const MIN_EPOCHS = 5;
const MAX_SLABS = 64;
/** From the last byte sent to the acknowledgement, on a local network. */
const ACK_MS = 0.5;

export interface DryRunRow {
  epochMs: number;
  epochs: number;
  pauseMs: { p50: number; p99: number };
  /** Share of time the guest stands still. */
  pauseShare: number;
  dirtyPages: { p50: number; p99: number };
  dirtyPagesPerS: number;
  rawBytesPerS: number;
  wireBytesPerS: number;
  /** How long output of the guest would be held: on average, and for what leaves right after a checkpoint in a bad epoch. */
  outputDelayMs: { mean: number; p99: number };
}

export interface DryRunRequest {
  /** Attached. */
  source: Source;
  threads: number;
  /** Bits per second of the link that output delay is predicted for. */
  linkBitsPerS: number;
  onProgress(epochMs: number): void;
}

/** Shadow copy first, as protection begins; then each epoch length in turn. The guest runs on afterwards. */
export async function dryRun(request: DryRunRequest): Promise<DryRunRow[]> {
  const { source, threads, linkBitsPerS } = request;
  const capture = new Capture(source, { threads, maxSlabs: MAX_SLABS });
  try {
    await capture.takeDirty();
    capture.dirty.setAll();
    capture.skipUntouched();
    await capture.encodeRunning(async (chunks) => {
      for (const chunk of chunks) capture.release(chunk);
    });
    const rows: DryRunRow[] = [];
    // What was dirtied during that pass belongs to no epoch length.
    await measureEpochs(capture, 1, 1, linkBitsPerS);
    for (const epochMs of DRY_RUN_EPOCHS_MS) {
      request.onProgress(epochMs);
      rows.push(
        await measureEpochs(capture, epochMs, Math.max(MIN_EPOCHS, MEASURE_MS / epochMs), linkBitsPerS),
      );
    }
    return rows;
  } finally {
    capture.close();
  }
}

async function measureEpochs(
  capture: Capture,
  epochMs: number,
  epochs: number,
  linkBitsPerS: number,
): Promise<DryRunRow> {
  const codecs = new CodecChoice(new LinkRate(linkBitsPerS));
  const pauseMs = new Samples();
  const dirtyPages = new Samples();
  const commitMs = new Samples();
  let rawBytes = 0;
  let wireBytes = 0;
  const began = performance.now();
  for (let epoch = 1; epoch <= epochs; epoch++) {
    await delay(epochMs);
    const drop = async (chunks: CapturedChunk[]) => {
      for (const chunk of chunks) capture.release(chunk);
    };
    const checkpoint = await capture.checkpoint(epoch, drop, [], { grain: codecs.grain });
    const packing = performance.now();
    let bytes = 0;
    for (const chunk of checkpoint.chunks) {
      bytes += (await compressPayload(chunk, codecs.best)).packed?.bytes ?? chunk.bytes;
      capture.release(chunk);
    }
    const sendMs = (bytes * 8 * 1000) / linkBitsPerS;
    commitMs.add(checkpoint.times.pauseMs + (performance.now() - packing) + sendMs + ACK_MS);
    pauseMs.add(checkpoint.times.pauseMs);
    dirtyPages.add(checkpoint.dirtyPages);
    rawBytes += checkpoint.rawBytes;
    wireBytes += bytes;
  }
  const seconds = (performance.now() - began) / 1000;
  const { p50, p99 } = pauseMs.summary();
  const pages = dirtyPages.summary();
  return {
    epochMs,
    epochs: Math.floor(epochs),
    pauseMs: { p50: round(p50), p99: round(p99) },
    pauseShare: round(p50 / (p50 + epochMs)),
    dirtyPages: { p50: pages.p50, p99: pages.p99 },
    dirtyPagesPerS: Math.round(rawBytes / 4096 / seconds),
    rawBytesPerS: Math.round(rawBytes / seconds),
    wireBytesPerS: Math.round(wireBytes / seconds),
    outputDelayMs: {
      mean: round(epochMs / 2 + commitMs.quantile(0.5)),
      p99: round(epochMs + commitMs.quantile(0.99)),
    },
  };
}

function round(value: number): number {
  return Math.round(value * 1000) / 1000;
}
