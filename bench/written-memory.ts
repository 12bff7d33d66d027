/** A guest for the wire benchmark: each epoch rewrites a given number of pages whole, with bytes that do not compress. */

import { randomFillSync } from 'node:crypto';
import { type DirtyBitmap, engine, type Memory } from '../native/index.ts';
import type { GuestState, Source } from '../primary/hypervisor/source.ts';
import { type Geometry, PAGE_BYTES } from '../shared/vm.ts';

export class WrittenMemory implements Source {
  readonly kind = 'replay';
  readonly tracking = 'trace';
  readonly geometry: Geometry;
  readonly memory: Memory;
  readonly #pagesPerEpoch: number;
  readonly #noise: Buffer;
  readonly #state = Buffer.alloc(64);
  #first = true;

  constructor(ramBytes: number, pagesPerEpoch: number) {
    this.geometry = { arch: 'x86_64', ramBytes, cpus: 1, hypervisor: 'replay 1' };
    this.memory = engine().anonymousMemory(ramBytes);
    this.#pagesPerEpoch = pagesPerEpoch;
    this.#noise = Buffer.allocUnsafe(pagesPerEpoch * PAGE_BYTES);
  }

  async attach(): Promise<void> {}
  async pause(): Promise<void> {}

  async takeDirty(into: DirtyBitmap): Promise<number> {
    if (this.#first) {
      this.#first = false;
      return 0; // memory of zeros needs no initial copy
    }
    this.memory.write(0, randomFillSync(this.#noise));
    into.set(0, this.#pagesPerEpoch);
    return this.#pagesPerEpoch;
  }

  async deviceState(): Promise<Buffer> {
    return this.#state;
  }
  async resume(): Promise<void> {}
  async fence(): Promise<void> {}
  async guestState(): Promise<GuestState> {
    return 'running';
  }
  onGuestEnd(): void {}
  async detach(): Promise<void> {}
}
