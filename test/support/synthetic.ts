/** A guest without a hypervisor: seeded writes into plain memory, and a standby that only says whether it was started. */

import { readFileSync } from 'node:fs';
import type { StandbyFiles, Target } from '../../backup/hypervisor/target.ts';
import { type DirtyBitmap, engine, type Memory } from '../../native/index.ts';
import type { DirtyTracking, GuestState, Source } from '../../primary/hypervisor/source.ts';
import { type Geometry, PAGE_BYTES, type VmSpec } from '../../shared/vm.ts';
import { random } from './random.ts';

export interface SyntheticLoad {
  seed: number;
  /** Pages written per epoch. */
  pagesPerEpoch: number;
  /** Share of those written whole and incompressible. */
  wholeShare: number;
}

export class SyntheticSource implements Source {
  readonly kind = 'replay';
  readonly tracking: DirtyTracking = 'trace';
  readonly geometry: Geometry;
  readonly memory: Memory;
  readonly #load: SyntheticLoad;
  readonly #random: () => number;
  #listener: (state: GuestState) => void = () => {};
  #first = true;
  #paused = false;
  /** Memory after each checkpoint, by digest, as an outside witness of what the image must be. */
  readonly digests: bigint[] = [];
  epochs = 0;
  fenced = false;
  /** Pages that were written while nobody took dirty ones: the first of memory, told with the next takeDirty(). */
  writtenMeanwhile = 0;

  constructor(ramBytes: number, load: SyntheticLoad) {
    this.geometry = { arch: 'x86_64', ramBytes, cpus: 1, hypervisor: 'synthetic 1' };
    this.memory = engine().anonymousMemory(ramBytes);
    this.#load = load;
    this.#random = random(load.seed);
  }

  async attach(): Promise<void> {}

  async pause(): Promise<void> {
    this.#paused = true;
  }

  async takeDirty(into: DirtyBitmap): Promise<number> {
    if (this.#first) {
      this.#first = false;
      into.setAll();
    }
    if (this.writtenMeanwhile > 0) into.set(0, this.writtenMeanwhile);
    this.writtenMeanwhile = 0;
    if (!this.#paused) return 0;
    const pages = this.memory.sizeBytes / PAGE_BYTES;
    for (let i = 0; i < this.#load.pagesPerEpoch; i++) {
      const page = Math.floor(this.#random() * pages);
      into.set(page);
      if (this.#random() < this.#load.wholeShare) {
        const whole = Buffer.alloc(PAGE_BYTES);
        for (let at = 0; at < PAGE_BYTES; at += 4) whole.writeUInt32LE((this.#random() * 2 ** 32) >>> 0, at);
        this.memory.write(page * PAGE_BYTES, whole);
      } else {
        const word = Buffer.alloc(8);
        word.writeDoubleLE(this.#random());
        this.memory.write(page * PAGE_BYTES + Math.floor(this.#random() * 512) * 8, word);
      }
    }
    this.digests.push(await engine().digestOf(this.memory, 1));
    return this.#load.pagesPerEpoch;
  }

  async deviceState(): Promise<Buffer> {
    this.epochs += 1;
    const state = Buffer.alloc(5000, this.epochs % 251);
    state.writeUInt32LE(this.epochs, 0);
    return state;
  }

  async resume(): Promise<void> {
    this.#paused = false;
  }

  async fence(): Promise<void> {
    this.fenced = true;
  }

  async guestState(): Promise<GuestState> {
    return this.#paused ? 'paused' : 'running';
  }

  onGuestEnd(listener: (state: GuestState) => void): void {
    this.#listener = listener;
  }

  /** The guest shuts itself down. */
  end(state: GuestState): void {
    this.#listener(state);
  }

  async detach(): Promise<void> {}
}

export class SyntheticTarget implements Target {
  readonly kind = 'replay';
  files: StandbyFiles | undefined;
  startedWith: Buffer | undefined;

  async check(): Promise<void> {}

  async prepare(_spec: VmSpec, files: StandbyFiles): Promise<void> {
    this.files = files;
  }

  async start(statePath: string): Promise<void> {
    this.startedWith = readFileSync(statePath);
  }

  async stop(): Promise<void> {}

  async alive(): Promise<boolean> {
    return true;
  }

  async takeUp(): Promise<'gone' | 'waiting' | 'running'> {
    if (this.startedWith) return 'running';
    return this.files ? 'waiting' : 'gone';
  }
}
