/** One unbroken line of epochs: shadow copy, epochs in flight, and how a backup is brought up to it by delta or by a full copy. */

import { randomUUID } from 'node:crypto';
import { type Epoch, PAGE_BYTES } from '../shared/vm.ts';
import type { PackedPayload } from '../shared/wire/compression.ts';
import { Region } from '../shared/wire/messages.ts';
import { Capture } from './epoch/capture.ts';
import { type OutgoingEpoch, releaseEpoch, sendEpoch } from './epoch/outbox.ts';
import { type Progress, precopy } from './epoch/precopy.ts';
import { EpochWindow } from './epoch/window.ts';
import type { Source } from './hypervisor/source.ts';
import type { DiskStream } from './output/disk.ts';
import type { Session } from './session.ts';

/** Encoded bytes that may wait for acknowledgement; beyond, the epoch grows. */
const MAX_IN_FLIGHT_BYTES = 32 * 1024 * 1024;
/** Slabs of 1 MiB the engine may fill before it waits. */
const MAX_SLABS = 32;

/** What changed while the backup was away is one epoch, for which the guest stands still: longer on the link than this, and a full copy is made while it runs. */
const MAX_CATCH_UP_MS = 1000;
const SLAB_BYTES = 1024 * 1024;

export interface LineageLimits {
  threads: number;
  maxEpochs: number;
  /** Share of the guest's memory kept as shadow copy, 0 to 1. */
  shadowShare?: number;
  /** Copied with the memory, and committed with it. */
  disk?: DiskStream;
}

export class Lineage {
  readonly window: EpochWindow<OutgoingEpoch>;
  readonly #source: Source;
  readonly #limits: LineageLimits;
  #capture: Capture | undefined;
  #id: string | undefined;
  /** The full copy under way or made last. */
  progress: Progress | undefined;

  constructor(source: Source, limits: LineageLimits) {
    this.#source = source;
    this.#limits = limits;
    this.window = new EpochWindow({ maxEpochs: limits.maxEpochs, maxBytes: MAX_IN_FLIGHT_BYTES });
  }

  get capture(): Capture | undefined {
    return this.#capture;
  }

  get shadowBytes(): number {
    return this.#capture?.shadowBytes ?? 0;
  }

  get indexBytes(): number {
    return this.#capture?.indexBytes ?? 0;
  }

  /** What a hello says of it; one that was lost is named anew by the sync that follows. */
  get claim(): { lineage: string; acked: Epoch } {
    return { lineage: this.#id ?? randomUUID(), acked: this.window.acked };
  }

  /** Sends what the backup lacks, if it is of this lineage and no more than the window behind; false if it needs a full copy. */
  async resume(session: Session, term: number): Promise<boolean> {
    const { lineage, committed } = session.welcome;
    // Nothing committed: parts of the initial copy may have been lost on the way, and nobody counted them.
    if (this.#capture === undefined || lineage !== this.#id || committed === 0) return false;
    const plan = this.window.resumeFrom(committed);
    if (plan === undefined || plan.resend.some((item) => item.checkpoint.spilledChunks > 0)) return false;
    // The backup went back to a release that cannot read them.
    if (!session.welcome.copies && plan.resend.some((item) => item.checkpoint.copies.runs > 0)) return false;
    if (await this.#tooFarBehind(this.#capture, session)) return false;
    for (const item of plan.freed) releaseEpoch(this.#capture, item);
    // A copy: acknowledgements of the first come in while the last are sent, and take them out of the window.
    for (const item of [...plan.resend]) await sendEpoch(session, term, item);
    return true;
  }

  /** Before compression, which is not known yet. What fits the slabs leaves after the pause, whatever the link. */
  async #tooFarBehind(capture: Capture, session: Session): Promise<boolean> {
    if (this.#source.tracking === 'full-compare') return false; // every page is dirty in every epoch there
    await capture.takeDirty();
    const behindBytes = capture.dirty.count() * PAGE_BYTES;
    const linkBytes = (session.codecs.link.bitsPerS / 8) * (MAX_CATCH_UP_MS / 1000);
    return behindBytes > Math.max(MAX_SLABS * SLAB_BYTES, linkBytes);
  }

  /** Begins a new lineage with a full copy while the guest runs. `running` is asked for each part that leaves. */
  async sync(session: Session, running: () => boolean): Promise<void> {
    this.drop();
    this.#id = randomUUID();
    const { threads, shadowShare, disk } = this.#limits;
    const ready = await session.beginSync(this.#id, disk?.offer());
    this.#capture = new Capture(this.#source, {
      threads,
      maxSlabs: MAX_SLABS,
      ...(shadowShare !== undefined && { shadowShare }),
    });
    // The new shadow copy knows nothing, so every page is dirty, whatever the hypervisor reported before.
    this.#capture.dirty.setAll();
    this.progress = { percent: 0, sentBytes: 0, round: 0 };
    if (disk) {
      this.progress.disk = { percent: 0, sentBytes: 0 };
      const send = (payload: PackedPayload) => session.sendChunk(0, Region.disk, payload);
      await disk.copy(ready, send, this.progress.disk, running);
    }
    await precopy(this.#capture, session, this.progress, running);
  }

  /** Everything up to `epoch` is on the backup; returns what that frees. */
  ack(epoch: Epoch): OutgoingEpoch[] {
    const freed = this.window.ack(epoch);
    if (this.#capture) for (const item of freed) releaseEpoch(this.#capture, item);
    return freed;
  }

  drop(): void {
    this.#limits.disk?.giveUp();
    this.window.clear();
    this.#capture?.close();
    this.#capture = undefined;
    this.#id = undefined;
  }
}
