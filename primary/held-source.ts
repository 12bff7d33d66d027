/** A Source whose guest can be held: paused by authority, whatever the epoch loop does meanwhile. */

import type { DirtyBitmap, Memory } from '../native/index.ts';
import type { Geometry, HypervisorKind } from '../shared/vm.ts';
import type { DirtyTracking, GuestState, Source } from './hypervisor/source.ts';

export class HeldSource implements Source {
  readonly #source: Source;
  /** Between pause() and resume() of whoever captures. */
  #capturing = false;
  #held = false;
  #holdNext = false;

  constructor(source: Source) {
    this.#source = source;
  }

  /** The guest stands still, or will at the end of the capture under way. */
  get held(): boolean {
    return this.#held;
  }

  /** Held, and its last capture is through. */
  get still(): boolean {
    return this.#held && !this.#capturing;
  }

  /** Pauses the guest until release(); in the middle of a capture, by not resuming it afterwards. */
  async hold(): Promise<void> {
    if (this.#held) return;
    this.#held = true;
    if (!this.#capturing) await this.#source.pause();
  }

  /** The guest stays paused after the next capture, which is its last epoch here. */
  holdAtNextCapture(): void {
    this.#holdNext = true;
  }

  async release(): Promise<void> {
    this.#holdNext = false;
    if (!this.#held) return;
    this.#held = false;
    if (!this.#capturing) await this.#source.resume();
  }

  pause(): Promise<void> {
    this.#capturing = true;
    if (this.#holdNext) {
      this.#holdNext = false;
      this.#held = true;
    }
    return this.#source.pause();
  }

  async resume(): Promise<void> {
    this.#capturing = false;
    if (!this.#held) await this.#source.resume();
  }

  get kind(): HypervisorKind {
    return this.#source.kind;
  }

  get geometry(): Geometry {
    return this.#source.geometry;
  }

  get tracking(): DirtyTracking {
    return this.#source.tracking;
  }

  get memory(): Memory {
    return this.#source.memory;
  }

  attach(options?: { mayStart?: boolean }): Promise<void> {
    return this.#source.attach(options);
  }

  takeDirty(into: DirtyBitmap): Promise<number> {
    return this.#source.takeDirty(into);
  }

  deviceState(): Promise<Buffer> {
    return this.#source.deviceState();
  }

  fence(): Promise<void> {
    return this.#source.fence();
  }

  guestState(): Promise<GuestState> {
    return this.#source.guestState();
  }

  onGuestEnd(listener: (state: GuestState) => void): void {
    this.#source.onGuestEnd(listener);
  }

  detach(): Promise<void> {
    return this.#source.detach();
  }
}
