/** The order in which `plug` must be spoken to, as pure bookkeeping: its actions, in order, for each call on the gate. */

import { PlugAction, type PlugActionId } from '../../shared/net/netlink.ts';
import type { Epoch } from '../../shared/vm.ts';

/**
 * `plug` counts one epoch: a second BUFFER before RELEASE_ONE overwrites the count of the first, whose packets then stay
 * behind (safety rule 9). So while one epoch waits, further seals set no barrier: what they would have covered leaves one
 * release later, never earlier.
 */
export class PlugQueue {
  /** Epoch in front of the kernel's barrier, until it is released. */
  #sealed: Epoch | undefined;
  #open = false;

  /** True while everything passes. */
  get open(): boolean {
    return this.#open;
  }

  seal(epoch: Epoch): PlugActionId[] {
    this.#open = false;
    if (this.#sealed === undefined) {
      this.#sealed = epoch;
      return [PlugAction.buffer];
    }
    // A lower number: a new lineage began, and its first epoch covers what the old one left behind.
    this.#sealed = Math.min(this.#sealed, epoch);
    return [];
  }

  /** Call released() once the kernel has done it: a request that came too late has let nothing out. */
  release(epoch: Epoch): PlugActionId[] {
    if (this.#open || this.#sealed === undefined || epoch < this.#sealed) return [];
    return [PlugAction.releaseOne];
  }

  /** What release() asked for is done. */
  released(): void {
    this.#sealed = undefined;
  }

  openUnprotected(): PlugActionId[] {
    this.#open = true;
    this.#sealed = undefined;
    return [PlugAction.releaseIndefinite];
  }

  /** Shut already, unless RELEASE_INDEFINITE was the last word: then only another BUFFER shuts. */
  close(): PlugActionId[] {
    if (!this.#open) return [];
    this.#open = false;
    return [PlugAction.buffer];
  }

  /** All that was held is gone, as with the queueing discipline itself; the one made in its place is plugged. */
  reset(): void {
    this.#open = false;
    this.#sealed = undefined;
  }
}
