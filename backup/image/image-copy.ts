/** A copy of the standby image made while epochs go on being applied: in rounds, the last of which is at exactly one epoch. */

import { type DirtyBitmap, engine } from '../../native/index.ts';
import { PAGE_BYTES } from '../../shared/vm.ts';
import type { FollowedImage, HeldImage } from './followed-image.ts';

/** Pages copied while nothing is applied: 16 MiB. */
const ROUND_PAGES = 4096;

/** Runs of pages, ascending: first page and count. */
export type PageRun = [page: number, pages: number];

export class ImageCopy {
  readonly #image: FollowedImage;
  /** Pages that the copy does not have as the image has them. */
  readonly #pending: DirtyBitmap;
  readonly #unfollow: () => void;
  readonly #firstEpoch: Promise<void>;

  /** `onApplied` runs after each applied epoch, before the next one, and must not reject; take() then names its pages too. */
  constructor(image: FollowedImage, onApplied: (held: HeldImage) => Promise<void> = async () => {}) {
    this.#image = image;
    this.#pending = engine().createBitmap(image.sizeBytes / PAGE_BYTES);
    this.#pending.setAll();
    let first: () => void = () => {};
    this.#firstEpoch = new Promise((resolve) => {
      first = resolve;
    });
    this.#unfollow = image.follow(async (held, payloads) => {
      for (const payload of payloads) engine().markPages(payload, this.#pending);
      first();
      await onApplied(held);
    });
  }

  /**
   * Hands out every page, from the image's first epoch on. `take` gets runs of pages and must have their contents when it
   * returns; after the call with `last` the copy is that of its epoch. `taken` is awaited between, so that no more than one
   * round lies in memory.
   */
  async run(
    take: (held: HeldImage, runs: PageRun[], last: boolean) => void,
    taken: () => Promise<void>,
  ): Promise<void> {
    await this.#image.atEpoch(async () => {}).catch(() => this.#firstEpoch);
    for (let last = false; !last; await taken()) {
      last = await this.#image.atEpoch(async (held) => {
        const isLast = this.#pending.count() <= ROUND_PAGES;
        take(held, this.take(ROUND_PAGES), isLast);
        return isLast;
      });
    }
  }

  /** The first so many pending pages, which are then no longer pending. */
  take(atMost = this.#pending.pages): PageRun[] {
    const taken: PageRun[] = [];
    const rest: PageRun[] = [];
    let room = atMost;
    const runs = this.#pending.runs();
    for (let i = 0; i < runs.length; i += 2) {
      const [first, count] = [runs[i] as number, runs[i + 1] as number];
      const now = Math.min(room, count);
      if (now > 0) taken.push([first, now]);
      if (now < count) rest.push([first + now, count - now]);
      room -= now;
    }
    this.#pending.clear();
    for (const [first, count] of rest) this.#pending.set(first, count);
    return taken;
  }

  /** No longer follows the image. */
  end(): void {
    this.#unfollow();
  }
}

/** Reads runs of a held image, each into a buffer of its own: the image changes afterwards. */
export function copier({ ram }: HeldImage): (page: number, pages: number) => Buffer {
  return (page, pages) => ram.read(page * PAGE_BYTES, pages * PAGE_BYTES);
}
