/** The initial full copy, made while the guest runs: rounds over what was written meanwhile, until little is left. */

import { RomulusError } from '../../shared/errors.ts';
import type { DiskCopyProgress } from '../output/disk.ts';
import type { Session } from '../session.ts';
import type { Capture } from './capture.ts';
import { sendThrough } from './outbox.ts';

/** Shown by `status` while it runs. */
export interface Progress {
  percent: number;
  sentBytes: number;
  round: number;
  /** Of the disk, which is copied first. */
  disk?: DiskCopyProgress;
}

/** Pages left to send at which one pause can take the rest: 4 MiB. */
const FEW_PAGES = 1024;
/** A guest that writes faster than the link carries never gets there; the first epoch then takes what is left. */
const MAX_ROUNDS = 8;
/** A round that leaves more than this share of the one before is not converging. */
const CONVERGING_SHARE = 0.8;

/** Sends every page as epoch 0. Afterwards `capture.dirty` holds what the first epoch must still bring. */
export async function precopy(
  capture: Capture,
  session: Session,
  progress: Progress,
  running: () => boolean,
): Promise<void> {
  await capture.takeDirty();
  const totalPages = Math.max(1, capture.skipUntouched());
  const sentBefore = session.sentBytes;
  let before = Number.POSITIVE_INFINITY;
  for (let round = 1; ; round++) {
    progress.round = round;
    const { changedPages } = await capture.encodeRunning(async (chunks) => {
      if (!running())
        throw new RomulusError('PEER_UNREACHABLE', 'the connection was lost during the initial copy');
      await sendThrough(session, capture, 0, chunks);
      progress.sentBytes = session.sentBytes - sentBefore;
      if (round === 1) progress.percent = Math.floor(100 * (1 - capture.dirty.count() / totalPages));
    }, session.codecs.grain);
    progress.percent = 100;
    // What still lay in buffers would hold the first epoch up, and the guest's output with it.
    await session.copied();
    await capture.takeDirty();
    if (changedPages <= FEW_PAGES || round >= MAX_ROUNDS || changedPages > before * CONVERGING_SHARE) return;
    before = changedPages;
  }
}
