/** The Remus loop in one screen: wait, pause and capture, resume, send; acknowledgements come in beside it. */

import { asRomulusError, type RomulusError } from '../../shared/errors.ts';
import { Region } from '../../shared/wire/messages.ts';
import type { Meters } from '../meters.ts';
import type { DiskStream } from '../output/disk.ts';
import type { OutputGate } from '../output/gate.ts';
import type { Session } from '../session.ts';
import type { Capture, CapturedChunk } from './capture.ts';
import { Departure, type OutgoingEpoch, ramBytes, sendThrough } from './outbox.ts';
import type { Pacer } from './pacer.ts';
import type { EpochWindow } from './window.ts';

export interface LoopContext {
  capture: Capture;
  session: Session;
  window: EpochWindow<OutgoingEpoch>;
  meters: Meters;
  gates: readonly OutputGate[];
  disk?: DiskStream | undefined;
  term: number;
  pacer: Pacer;
  signal: AbortSignal;
  /** Takes the function that ends the current wait: an ack or the session's end came. */
  onWake(wake: () => void): void;
  onEpoch(fields: Record<string, number>): void;
  /** The shadow copy no longer says what the backup has: only a full copy helps. */
  onBroken(error: RomulusError): void;
  running(): boolean;
  /** The epoch must end before its time: output waits for it. */
  hurried(): boolean;
  onCaptured(): void;
}

/** Runs epochs until the session or the protection ends. Throws what the hypervisor throws before anything was encoded. */
export async function runEpochs(context: LoopContext): Promise<void> {
  const { capture, session, window, meters, term, pacer } = context;
  const sealed = [...context.gates, ...(context.disk ? [context.disk] : [])];
  pacer.start(performance.now());
  // Epochs are packed and sent one after the other, beside the capture of the next.
  let sending: Promise<void> = Promise.resolve();
  let noted = false;
  while (context.running()) {
    await wait(context, context.hurried() ? 0 : pacer.delayMs(performance.now()));
    while (context.running() && window.full) await wait(context, undefined);
    await sending;
    if (!context.running()) return;
    const epoch = window.newest + 1;
    const began = performance.now();
    try {
      const spill = (chunks: CapturedChunk[]) => sendThrough(session, capture, epoch, chunks);
      const { grain } = session.codecs;
      const looks = session.welcome.copies === true && noted && session.codecs.copies.next();
      const checkpoint = await capture.checkpoint(epoch, spill, sealed, { grain, copies: looks });
      const capturedAtMs = performance.now();
      context.onCaptured();
      pacer.done(capturedAtMs, checkpoint.times.pauseMs, window.size + 1);
      meters.captured(checkpoint, began);
      const departure = new Departure(session, capture, epoch);
      departure.add(checkpoint.chunks);
      const disk = context.disk?.collect((payload) => session.sendChunk(epoch, Region.disk, payload));
      const outgoing = await departure.packed(checkpoint, capturedAtMs, disk).catch((thrown) => {
        capture.intact = false; // memory was encoded, and its epoch cannot be sent without the disk's part
        throw thrown;
      });
      if (looks) session.codecs.copies.learn(checkpoint.copies, ramBytes(outgoing));
      else session.codecs.copies.learnPlain(ramBytes(outgoing));
      window.add(outgoing);
      sending = departure.commit(term, outgoing).catch(() => {}); // the session reports its own end
      // Beside the sending, and while the guest runs.
      if (session.welcome.copies && session.codecs.copies.mayPay) noted = await capture.note();
      context.onEpoch({
        epoch,
        beganMs: round(began),
        intervalMs: round(pacer.intervalMs),
        pauseMs: round(checkpoint.times.pauseMs),
        stopMs: round(checkpoint.times.stopMs),
        captureMs: round(checkpoint.times.captureMs),
        resumeMs: round(checkpoint.times.resumeMs),
        dirtyPages: checkpoint.dirtyPages,
        changedPages: checkpoint.changedPages,
        copiedPages: checkpoint.copies.pages,
        copiedBytes: checkpoint.copies.savedBytes,
        rawBytes: checkpoint.rawBytes,
        sentBytes: outgoing.bytes,
        scanNs: checkpoint.scanNs,
        encodeNs: checkpoint.encodeNs,
        inFlight: window.size,
      });
    } catch (thrown) {
      if (!capture.intact) context.onBroken(asRomulusError(thrown));
      throw thrown;
    }
  }
  await sending;
}

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}

/** Waits the given time, or without it for the next wake-up alone; a wake-up also ends a timed wait when the loop must stop or hurry. */
function wait(context: LoopContext, ms: number | undefined): Promise<void> {
  if (ms !== undefined && ms <= 0) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = ms === undefined ? undefined : setTimeout(resolve, ms);
    context.onWake(() => {
      if (timer !== undefined && context.running() && !context.hurried()) return;
      clearTimeout(timer);
      resolve();
    });
  });
}
