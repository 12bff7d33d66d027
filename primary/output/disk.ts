/** The replicated disk as the primary's epoch loop sees it: sealed with the guest's memory, sent with it, committed with it. */

import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { CHUNK_HEADROOM_BYTES, type Disk, type DiskChunk } from '../../native/index.ts';
import type { HostDisk } from '../../shared/disk/host-disk.ts';
import { RomulusError } from '../../shared/errors.ts';
import type { Epoch } from '../../shared/vm.ts';
import { CodecChoice } from '../../shared/wire/codec-choice.ts';
import { compressBest, detachPayload, type PackedPayload } from '../../shared/wire/compression.ts';
import type { DiskAnswer, DiskOffer } from '../../shared/wire/disk-messages.ts';
import type { LinkRate } from '../../shared/wire/link-rate.ts';

/** An epoch's disk payloads up to this much are kept, to be sent again after a reconnection; beyond, each is sent at once. */
const MAX_KEPT_BYTES = 16 * 1024 * 1024;
/** So little is left of a copy that the first epoch can bring it. */
const FEW_BYTES = 4 * 1024 * 1024;
/** A guest that writes faster than its disk is copied never gets there; the first epoch then takes what is left. */
const MAX_ROUNDS = 8;

/** What carries payloads to the backup; rejects once the session has ended. */
export type SendDisk = (payload: PackedPayload) => Promise<void>;

export interface DiskCopyProgress {
  percent: number;
  sentBytes: number;
}

/** An epoch's part of the disk, packed. */
export interface DiskEpoch {
  /** Kept until the epoch is acknowledged. */
  kept: PackedPayload[];
  /** Sent already, and not kept. */
  spilledChunks: number;
}

export class DiskStream {
  readonly #disk: Disk;
  readonly #host: HostDisk;
  readonly #codecs: CodecChoice;
  readonly #bytesPerS: number;
  /** Image bytes that the last copy sent, before compression. */
  #copiedBytes = 0;
  /** The pair this sync is to make; undefined once it is made. */
  #nextPair: string | undefined;

  /** `bytesPerS`: bound of the copy beside a running guest; epochs are not bound by it. */
  constructor(host: HostDisk, bytesPerS: number, link?: LinkRate) {
    this.#host = host;
    this.#disk = host.disk;
    this.#codecs = new CodecChoice(link);
    this.#bytesPerS = bytesPerS;
  }

  get sizeBytes(): number {
    return this.#disk.sizeBytes;
  }

  onPressure(listener: () => void): void {
    this.#host.onPressure(listener);
  }

  /** For `status`. */
  status(): { copiedBytes: number; dirtyBytes: number; runningBytes: number } {
    const { dirtyBytes, runningBytes } = this.#disk.counts();
    return { copiedBytes: this.#copiedBytes, dirtyBytes, runningBytes };
  }

  /** Called while the guest is paused, as a gate's. */
  seal(epoch: Epoch): void {
    this.#disk.seal(epoch);
  }

  /** Reads the sealed epoch while the guest runs on. A send that fails is the session's end, which it reports itself. */
  async collect(send: SendDisk): Promise<DiskEpoch> {
    const kept: PackedPayload[] = [];
    let keptBytes = 0;
    let spilledChunks = 0;
    await this.#take(async (payload) => {
      if (keptBytes + payload.bytes <= MAX_KEPT_BYTES) {
        kept.push(payload);
        keptBytes += payload.bytes;
        return;
      }
      spilledChunks += 1;
      await send(payload).catch(() => {});
    });
    return { kept, spilledChunks };
  }

  /** What the backup must know before a new lineage begins. */
  offer(): DiskOffer {
    this.#nextPair = randomUUID();
    return { sizeBytes: this.#disk.sizeBytes, pair: this.#disk.pair(), nextPair: this.#nextPair };
  }

  /**
   * Copies what differs while the guest runs: all of it, unless the backup's disk is the other half of this pair. Afterwards
   * the running epoch holds what the first epoch must still bring.
   */
  async copy(
    ready: { disk?: DiskAnswer; dirtyBits: Uint8Array },
    send: SendDisk,
    progress: DiskCopyProgress,
    running: () => boolean,
  ): Promise<void> {
    const disk = this.#disk;
    disk.giveUp();
    const pair = ready.disk?.pair ?? '';
    const delta = pair !== '' && pair === disk.pair();
    if (delta) disk.mergeDirty(ready.dirtyBits);
    else disk.markAllDirty();
    if (delta) this.#nextPair = undefined;
    disk.beginCopy(!delta);
    const totalBytes = Math.max(1, disk.counts().runningBytes);
    const beganMs = performance.now();
    this.#copiedBytes = 0;
    for (
      let round = 1;
      round <= MAX_ROUNDS && disk.counts().runningBytes > (round === 1 ? 0 : FEW_BYTES);
      round++
    ) {
      disk.seal(0);
      await this.#take(async (payload) => {
        if (!running())
          throw new RomulusError('PEER_UNREACHABLE', 'the connection was lost while the disk was copied');
        await send(payload);
        progress.sentBytes += payload.bytes;
        this.#copiedBytes += payload.rawBytes;
        if (round === 1) progress.percent = Math.floor(100 * (1 - disk.counts().sealedBytes / totalBytes));
        const dueMs = beganMs + (progress.sentBytes / this.#bytesPerS) * 1000;
        if (dueMs > performance.now()) await delay(dueMs - performance.now());
      });
    }
    progress.percent = 100;
  }

  /** The backup has this epoch, and with the first of a lineage the two disks are a pair. */
  commit(epoch: Epoch): void {
    if (this.#nextPair !== undefined) this.#disk.setPair(this.#nextPair);
    this.#nextPair = undefined;
    this.#disk.commit(epoch);
    this.#disk.setPaced(true);
  }

  /** The lineage is over: what was not acknowledged differs, and nobody takes epochs. */
  giveUp(): void {
    this.#disk.giveUp();
    this.#disk.setPaced(false);
  }

  /** The session is over, the lineage perhaps not: the guest is not slowed for want of somebody who takes its epochs. */
  idle(): void {
    this.#disk.setPaced(false);
  }

  /** A fenced guest changes nothing any more, wherever its writes come from. */
  shut(): void {
    this.#host.setWritable(false);
  }

  /** Hands out the sealed epoch's payloads one by one, packed, until there are no more. */
  async #take(each: (payload: PackedPayload) => Promise<void>): Promise<void> {
    for (let complete = false; !complete; ) {
      const taken = await this.#disk.take();
      complete = taken.complete;
      let left = taken.chunks;
      try {
        for (let chunk = left[0]; chunk !== undefined; chunk = left[0]) {
          const payload = await this.#pack(chunk);
          left = left.slice(1);
          this.#disk.release(chunk.slab);
          await each(payload);
        }
      } finally {
        for (const chunk of left) this.#disk.release(chunk.slab);
      }
    }
  }

  /** Compressed, or copied out of its slab. */
  async #pack({ buffer, payloadBytes, crc32c }: DiskChunk): Promise<PackedPayload> {
    const framed = { buffer, offset: CHUNK_HEADROOM_BYTES, bytes: payloadBytes, crc32c };
    return (await compressBest(this.#codecs, framed)) ?? detachPayload(framed);
  }
}
