/** The epochs sent and not yet acknowledged: pure bookkeeping of order, bound and resumption. */

import { RomulusError } from '../../shared/errors.ts';
import type { Epoch } from '../../shared/vm.ts';

export interface InFlight {
  epoch: Epoch;
  /** Bytes this epoch holds in memory until it is acknowledged. */
  bytes: number;
}

export class EpochWindow<T extends InFlight> {
  readonly #maxEpochs: number;
  readonly #maxBytes: number;
  #inFlight: T[] = [];
  #bytes = 0;
  #acked: Epoch;

  constructor(limits: { maxEpochs: number; maxBytes: number }, acked: Epoch = 0) {
    this.#maxEpochs = limits.maxEpochs;
    this.#maxBytes = limits.maxBytes;
    this.#acked = acked;
  }

  get acked(): Epoch {
    return this.#acked;
  }

  get newest(): Epoch {
    return this.#acked + this.#inFlight.length;
  }

  get size(): number {
    return this.#inFlight.length;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** No further epoch may be captured: the guest runs on and the epoch grows. */
  get full(): boolean {
    return this.#inFlight.length >= this.#maxEpochs || this.#bytes >= this.#maxBytes;
  }

  add(item: T): void {
    if (item.epoch !== this.newest + 1) {
      throw new RomulusError('INTERNAL', `epoch ${item.epoch} does not follow ${this.newest}`);
    }
    this.#inFlight.push(item);
    this.#bytes += item.bytes;
  }

  /** Everything up to and with `epoch` is on the backup; returns what was freed. An old or repeated ack frees nothing. */
  ack(epoch: Epoch): T[] {
    if (epoch > this.newest) {
      throw new RomulusError(
        'WIRE_ORDER',
        `the backup acknowledged epoch ${epoch}, but ${this.newest} is the newest sent`,
      );
    }
    const freed = this.#inFlight.splice(0, Math.max(0, epoch - this.#acked));
    for (const item of freed) this.#bytes -= item.bytes;
    this.#acked = Math.max(this.#acked, epoch);
    return freed;
  }

  /**
   * What must be sent again to a backup that committed up to `committed`, or undefined if that backup lies outside the
   * window and needs a full copy.
   */
  resumeFrom(committed: Epoch): { freed: T[]; resend: readonly T[] } | undefined {
    if (committed < this.#acked || committed > this.newest) return undefined;
    const freed = this.ack(committed);
    return { freed, resend: this.#inFlight };
  }

  /** Empties the window, as when a lineage is given up; returns what was freed. */
  clear(): T[] {
    const freed = this.#inFlight;
    this.#inFlight = [];
    this.#bytes = 0;
    this.#acked = 0;
    return freed;
  }
}
