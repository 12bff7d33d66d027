/** From the engine's slabs to the wire: compresses where it pays, keeps each epoch for sending again, gives slabs back. */

import { engine } from '../../native/index.ts';
import { crashPoint } from '../../shared/crash-point.ts';
import type { Epoch } from '../../shared/vm.ts';
import type { CodecChoice } from '../../shared/wire/codec-choice.ts';
import { compressBest, detachPayload, type PackedPayload } from '../../shared/wire/compression.ts';
import { Codec, Region, type RegionId } from '../../shared/wire/messages.ts';
import type { DiskEpoch } from '../output/disk.ts';
import type { Session } from '../session.ts';
import type { Capture, CapturedChunk, Checkpoint } from './capture.ts';
import type { InFlight } from './window.ts';

/** Where slabs run short, a smaller chunk is copied out, so that its slab serves the next epoch at once. */
const DETACH_BELOW_BYTES = 256 * 1024;

interface PackedChunk {
  region: RegionId;
  payload: PackedPayload;
  /** Given back to the engine when the epoch is acknowledged. */
  held?: CapturedChunk;
}

/** An epoch on its way: ready to be sent, and sent again, until it is acknowledged. */
export interface OutgoingEpoch extends InFlight {
  epoch: Epoch;
  bytes: number;
  capturedAtMs: number;
  checkpoint: Checkpoint;
  chunks: PackedChunk[];
  /** CLOCK_BOOTTIME just before its commit was last sent: from then on the backup's promise counts (safety rule 8). */
  commitSentMs?: number;
}

/** Compresses or copies out one chunk; its slab is free afterwards unless the result says `held`. */
async function pack(codecs: CodecChoice, capture: Capture, chunk: CapturedChunk): Promise<PackedChunk> {
  const compressed = await compressBest(codecs, chunk);
  if (compressed === undefined && (chunk.bytes >= DETACH_BELOW_BYTES || capture.plentiful)) {
    return {
      region: chunk.region,
      payload: { ...chunk, codec: Codec.none, rawBytes: chunk.bytes },
      held: chunk,
    };
  }
  const payload = compressed ?? detachPayload(chunk);
  capture.release(chunk);
  return { region: chunk.region, payload };
}

/** Packs an epoch whole, its part of the disk included. Bytes count what stays in memory until the acknowledgement. */
export async function packEpoch(
  codecs: CodecChoice,
  capture: Capture,
  checkpoint: Checkpoint,
  capturedAtMs: number,
  disk?: Promise<DiskEpoch>,
): Promise<OutgoingEpoch> {
  const chunks = await Promise.all(checkpoint.chunks.map((chunk) => pack(codecs, capture, chunk)));
  const changes = await disk;
  for (const payload of changes?.kept ?? []) chunks.push({ region: Region.disk, payload });
  checkpoint.spilledChunks += changes?.spilledChunks ?? 0;
  const bytes = chunks.reduce((sum, chunk) => sum + chunk.payload.bytes, 0);
  return { epoch: checkpoint.epoch, bytes, capturedAtMs, checkpoint, chunks };
}

/** Sends chunks that must not stay in memory, and resolves when all their slabs are free. */
export async function sendThrough(
  session: Session,
  capture: Capture,
  epoch: Epoch,
  chunks: CapturedChunk[],
): Promise<void> {
  await Promise.all(
    chunks.map(async (chunk) => {
      const packed = await pack(session.codecs, capture, chunk);
      try {
        await session.sendChunk(epoch, packed.region, packed.payload);
      } finally {
        if (packed.held) capture.release(packed.held);
      }
    }),
  );
}

/** Hands an epoch to the socket, commit last. Rejections are the session's end, which it reports itself. */
export async function sendEpoch(session: Session, term: number, outgoing: OutgoingEpoch): Promise<void> {
  const { checkpoint, chunks, epoch } = outgoing;
  const sends = chunks.map(({ region, payload }) => session.sendChunk(epoch, region, payload));
  crashPoint('primary.chunks-sent');
  outgoing.commitSentMs = engine().bootTimeMs();
  sends.push(
    session.sendCommit({
      term,
      epoch,
      previous: epoch - 1,
      sentMs: outgoing.commitSentMs,
      chunks: chunks.length + checkpoint.spilledChunks,
      stateBytes: checkpoint.stateBytes,
      digest: checkpoint.digest,
      stateDigest: checkpoint.stateDigest,
    }),
  );
  crashPoint('primary.commit-sent');
  await Promise.all(sends);
}

/** The epoch is acknowledged or given up: its slabs go back. */
export function releaseEpoch(capture: Capture, outgoing: OutgoingEpoch): void {
  for (const { held } of outgoing.chunks) if (held) capture.release(held);
}
