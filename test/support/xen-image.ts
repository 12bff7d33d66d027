/** A standby image of a small Xen guest, changed epoch by epoch with payloads made as the primary makes them. */

import type { HeldImage } from '../../backup/image/followed-image.ts';
import { CHUNK_HEADROOM_BYTES, engine } from '../../native/index.ts';
import { packXenState, type XenState } from '../../shared/hypervisor/xen-state.ts';
import { FedImage } from './fed-image.ts';

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
export class TestImage extends FedImage {
  readonly sizeBytes = PAGES * 4096;
  readonly ram = engine().anonymousMemory(PAGES * 4096);
  readonly #shadow = engine().anonymousMemory(PAGES * 4096);
  readonly #encoder = engine().createEncoder({
    memory: this.ram,
    shadow: this.#shadow,
    threads: 1,
    maxSlabs: 4,
  });

  protected get held(): HeldImage {
    if (this.epoch === 0) throw new Error('no epoch yet');
    return { epoch: this.epoch, ram: this.ram, state: xenState(this.epoch) };
  }

  /** The next epoch: these pages are filled with its number. */
  apply(...pages: number[]): Promise<void> {
    return this.advance(async () => {
      this.epoch += 1;
      const dirty = engine().createBitmap(PAGES);
      for (const page of pages) {
        this.ram.write(page * 4096, Buffer.alloc(4096, this.epoch));
        dirty.set(page);
      }
      const { chunks } = await this.#encoder.encode(dirty);
      return chunks.map(({ buffer, payloadBytes, slab }) => {
        const payload = Buffer.from(
          buffer.subarray(CHUNK_HEADROOM_BYTES, CHUNK_HEADROOM_BYTES + payloadBytes),
        );
        this.#encoder.release(slab);
        return payload;
      });
    });
  }
}
