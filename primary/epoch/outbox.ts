/** From the engine's slabs to the wire: compresses where it pays, keeps each epoch for sending again, gives slabs back. */

import { engine } from '../../native/index.ts';
import { crashPoint } from '../../shared/crash-point.ts';
import type { Epoch } from '../../shared/vm.ts';
import type { CodecChoice } from '../../shared/wire/codec-choice.ts';
import { compressBest, detachPayload, type PackedPayload } from '../../shared/wire/compression.ts';
import type { SentBytes } from '../../shared/wire/copies-choice.ts';
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

/**
 * One epoch on its way out: its chunks are packed at once and each is sent, in order, as soon as it is packed, while those
 * behind it are still being compressed. The backup takes none of it for an epoch before the commit.
 */
export class Departure {
  readonly #session: Session;
  readonly #capture: Capture;
  readonly #epoch: Epoch;
  readonly #packing: Promise<PackedChunk>[] = [];
  /** Of what the kernel has not taken yet; the session itself reports its end. */
  readonly #sends: Promise<void>[] = [];
  /** Resolves when everything added so far was handed to the socket. */
  #handedOver: Promise<void> = Promise.resolve();

  constructor(session: Session, capture: Capture, epoch: Epoch) {
    this.#session = session;
    this.#capture = capture;
    this.#epoch = epoch;
  }

  add(chunks: readonly CapturedChunk[]): void {
    for (const chunk of chunks) this.#send(pack(this.#session.codecs, this.#capture, chunk));
  }

  /** Resolves when all of it is packed, the epoch's part of the disk included. Bytes count what stays in memory until the acknowledgement. */
  async packed(
    checkpoint: Checkpoint,
    capturedAtMs: number,
    disk?: Promise<DiskEpoch>,
  ): Promise<OutgoingEpoch> {
    const changes = await disk;
    for (const payload of changes?.kept ?? []) this.#send(Promise.resolve({ region: Region.disk, payload }));
    checkpoint.spilledChunks += changes?.spilledChunks ?? 0;
    const chunks = await Promise.all(this.#packing);
    const bytes = chunks.reduce((sum, chunk) => sum + chunk.payload.bytes, 0);
    return { epoch: this.#epoch, bytes, capturedAtMs, checkpoint, chunks };
  }

  /** Sends the commit behind all the rest. Rejects once the session has ended. */
  async commit(term: number, outgoing: OutgoingEpoch): Promise<void> {
    await this.#handedOver;
    await Promise.all([...this.#sends, sendCommit(this.#session, term, outgoing)]);
  }

  #send(packing: Promise<PackedChunk>): void {
    this.#packing.push(packing);
    this.#handedOver = Promise.all([packing, this.#handedOver]).then(([{ region, payload }]) => {
      const sending = this.#session.sendChunk(this.#epoch, region, payload);
      sending.catch(() => {}); // commit() tells, which may come later
      this.#sends.push(sending);
    });
    this.#handedOver.catch(() => {}); // packed() tells of a chunk that could not be packed
  }
}

/** The epoch's deltas of guest memory, but for those that left while the guest stood still. */
export function ramBytes({ chunks }: OutgoingEpoch): SentBytes {
  const ram = chunks.filter(({ region }) => region === Region.ram);
  return {
    payloadBytes: ram.reduce((sum, { payload }) => sum + payload.rawBytes, 0),
    packedBytes: ram.reduce((sum, { payload }) => sum + payload.bytes, 0),
  };
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

/** Hands an epoch to the socket once more, commit last. Rejections are the session's end, which it reports itself. */
export async function sendEpoch(session: Session, term: number, outgoing: OutgoingEpoch): Promise<void> {
  const { chunks, epoch } = outgoing;
  const sends = chunks.map(({ region, payload }) => session.sendChunk(epoch, region, payload));
  sends.push(sendCommit(session, term, outgoing));
  await Promise.all(sends);
}

function sendCommit(session: Session, term: number, outgoing: OutgoingEpoch): Promise<void> {
  const { checkpoint, chunks, epoch } = outgoing;
  crashPoint('primary.chunks-sent');
  outgoing.commitSentMs = engine().bootTimeMs();
  const sending = session.sendCommit({
    term,
    epoch,
    previous: epoch - 1,
    sentMs: outgoing.commitSentMs,
    chunks: chunks.length + checkpoint.spilledChunks,
    stateBytes: checkpoint.stateBytes,
    digest: checkpoint.digest,
    stateDigest: checkpoint.stateDigest,
  });
  crashPoint('primary.commit-sent');
  return sending;
}

/** The epoch is acknowledged or given up: its slabs go back. */
export function releaseEpoch(capture: Capture, outgoing: OutgoingEpoch): void {
  for (const { held } of outgoing.chunks) if (held) capture.release(held);
}
