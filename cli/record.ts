/** `romulus record`: what a live guest dirties, epoch by epoch, as a trace that `romulus replay` and `bench` read. */

import { setTimeout as delay } from 'node:timers/promises';
import { engine } from '../native/index.ts';
import type { Source } from '../primary/hypervisor/source.ts';
import { TraceWriter } from '../shared/hypervisor/trace-writer.ts';
import { PAGE_BYTES } from '../shared/vm.ts';

export interface RecordRequest {
  /** Attached. */
  source: Source;
  name: string;
  epochs: number;
  epochMs: number;
  path: string;
  /** Aborting ends the recording early; what was recorded so far is written. */
  signal: AbortSignal;
  onProgress(epoch: number, dirtyPages: number): void;
}

export interface RecordResult {
  path: string;
  epochs: number;
  epochMs: number;
  guestBytes: number;
  dirtyPages: number;
  pauseMs: { mean: number; max: number };
}

export async function recordTrace(request: RecordRequest): Promise<RecordResult> {
  const { source, epochMs, path } = request;
  const { ramBytes } = source.geometry;
  const dirty = engine().createBitmap(ramBytes / PAGE_BYTES);
  const writer = await begin(request);
  const pauses: number[] = [];
  let dirtyPages = 0;
  try {
    let deadline = performance.now() + epochMs;
    while (writer.epochs < request.epochs && !request.signal.aborted) {
      const resumedMs = performance.now();
      await delay(Math.max(0, deadline - resumedMs));
      const pausedMs = performance.now();
      await source.pause();
      try {
        const stoppedMs = performance.now();
        dirty.clear();
        await source.takeDirty(dirty);
        const pages = engine().pageNumbers(dirty);
        await writer.add(source.memory, pages, {
          runMs: pausedMs - resumedMs,
          stopMs: stoppedMs - pausedMs,
          scanMs: performance.now() - stoppedMs,
        });
        dirtyPages += pages.length;
      } finally {
        const copiedMs = performance.now();
        await source.resume();
        writer.resumed(performance.now() - copiedMs);
      }
      pauses.push(performance.now() - pausedMs);
      deadline = Math.max(deadline + epochMs, performance.now());
      request.onProgress(writer.epochs, dirtyPages);
    }
    await writer.finish();
  } catch (thrown) {
    await writer.discard();
    throw thrown;
  }
  const sum = pauses.reduce((a, b) => a + b, 0);
  return {
    path,
    epochs: writer.epochs,
    epochMs,
    guestBytes: ramBytes,
    dirtyPages,
    pauseMs: { mean: sum / Math.max(1, pauses.length), max: Math.max(0, ...pauses) },
  };
}

/** The guest stands still while its whole memory is copied, once. */
async function begin({ source, path, name, epochMs }: RecordRequest): Promise<TraceWriter> {
  await source.pause();
  try {
    await source.takeDirty(engine().createBitmap(source.geometry.ramBytes / PAGE_BYTES));
    return await TraceWriter.create(path, source.memory, { name, epochMs });
  } finally {
    await source.resume();
  }
}
