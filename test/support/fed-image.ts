/** An image that a standby is fed from, as tests make it: one thing is done to it after another, and who follows is told of each epoch. */

import type { EpochListener, FollowedImage, HeldImage } from '../../backup/image/followed-image.ts';

export abstract class FedImage implements FollowedImage {
  abstract readonly sizeBytes: number;
  epoch = 0;
  #listener: EpochListener | undefined;
  #busy: Promise<unknown> = Promise.resolve();

  /** The image as of `epoch`. */
  protected abstract get held(): HeldImage;

  atEpoch<T>(work: (held: HeldImage) => Promise<T>): Promise<T> {
    return this.#exclusive(() => work(this.held));
  }

  follow(listener: EpochListener): () => void {
    this.#listener = listener;
    return () => {
      this.#listener = undefined;
    };
  }

  /** The next epoch is made by `work`, which returns its payloads. */
  protected advance(work: () => Promise<Buffer[]>): Promise<void> {
    return this.#exclusive(async () => {
      const payloads = await work();
      await this.#listener?.(this.held, payloads);
    });
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const mine = this.#busy.then(work);
    this.#busy = mine.catch(() => {});
    return mine;
  }
}
