/** The standby image as a standby sees it that must be fed with epochs, because it cannot map the image. */

import type { Memory } from '../../native/index.ts';
import type { Epoch } from '../../shared/vm.ts';

/** The standby image while it holds exactly one committed epoch. */
export interface HeldImage {
  epoch: Epoch;
  ram: Memory;
  /** Device state of that epoch. */
  state: Buffer;
}

/** The standby image, for a standby that must be fed rather than map it. */
export type EpochListener = (held: HeldImage, payloads: readonly Buffer[]) => Promise<void>;

export interface FollowedImage {
  readonly sizeBytes: number;
  /** Runs `work` while nothing is applied. Rejects with IMAGE_NOT_PROMOTABLE before the first epoch. */
  atEpoch<T>(work: (held: HeldImage) => Promise<T>): Promise<T>;
  /** `listener` is awaited after each applied epoch, before the next one, with the epoch's payloads. What is returned ends that, as a new lineage does. */
  follow(listener: EpochListener): () => void;
}
