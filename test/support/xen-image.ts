/** A standby image of a small Xen guest, changed epoch by epoch with payloads made as the primary makes them. */

import type { EpochListener, FollowedImage, HeldImage } from '../../backup/image/followed-image.ts';
import { CHUNK_HEADROOM_BYTES, engine } from '../../native/index.ts';
import { packXenState, type XenState } from '../../shared/hypervisor/xen-state.ts';

export const PAGES = 64;
/** Guest frame of page 0 of the image. */
export const FIRST_GFN = 0x100;

/** Device state of an epoch: its CPU context is the epoch's number. */
export const xenState = (epoch: number): Buffer =>
  packXenState({
    xenVersion: '4.17',
    config: '{}',
    regions: [{ gfn: FIRST_GFN, page: 0, pages: PAGES }],
    absent: Buffer.alloc(8),
    leaves: Buffer.alloc(24),
    msrs: Buffer.alloc(16),
    tsc: Buffer.alloc(24),
    context: Buffer.alloc(64, epoch),
    params: Buffer.alloc(16),
  } satisfies XenState);

/** An image at an epoch, changed page by page; payloads are made as the primary makes them. */
export class TestImage implements FollowedImage {
  readonly sizeBytes = PAGES * 4096;
  readonly ram = engine().anonymousMemory(PAGES * 4096);
  readonly #shadow = engine().anonymousMemory(PAGES * 4096);
  readonly #encoder = engine().createEncoder({
    memory: this.ram,
    shadow: this.#shadow,
    threads: 1,
    maxSlabs: 4,
  });
  #listener: EpochListener | undefined;
  #busy: Promise<unknown> = Promise.resolve();
  epoch = 0;

  get #held(): HeldImage {
    if (this.epoch === 0) throw new Error('no epoch yet');
    return { epoch: this.epoch, ram: this.ram, state: xenState(this.epoch) };
  }

  atEpoch<T>(work: (held: HeldImage) => Promise<T>): Promise<T> {
    const mine = this.#busy.then(() => work(this.#held));
    this.#busy = mine.catch(() => {});
    return mine;
  }

  follow(listener: EpochListener): () => void {
    this.#listener = listener;
    return () => {
      this.#listener = undefined;
    };
  }

  /** The next epoch: these pages are filled with its number. */
  apply(...pages: number[]): Promise<void> {
    const mine = this.#busy.then(async () => {
      this.epoch += 1;
      const dirty = engine().createBitmap(PAGES);
      for (const page of pages) {
        this.ram.write(page * 4096, Buffer.alloc(4096, this.epoch));
        dirty.set(page);
      }
      const { chunks } = await this.#encoder.encode(dirty);
      const payloads = chunks.map(({ buffer, payloadBytes, slab }) => {
        const payload = Buffer.from(
          buffer.subarray(CHUNK_HEADROOM_BYTES, CHUNK_HEADROOM_BYTES + payloadBytes),
        );
        this.#encoder.release(slab);
        return payload;
      });
      await this.#listener?.(this.#held, payloads);
    });
    this.#busy = mine.catch(() => {});
    return mine;
  }
}
