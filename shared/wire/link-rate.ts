/** How fast a link carries, measured whenever more waits to be sent than socket buffers swallow. */

/** Until measured: a link most hosts have, so that nobody's network is flooded on a guess. */
export const ASSUMED_LINK_BITS_PER_S = 1e9;
/** A busy period of fewer bytes says how large the kernel's buffers are, not how fast the link is. */
const MIN_MEASURED_BYTES = 8 * 1024 * 1024;
/** Weight of the newest measurement. */
const WEIGHT = 0.3;

export class LinkRate {
  readonly #fixed: boolean;
  #bitsPerS: number;
  #measured = false;
  #waiting = 0;
  #busySinceMs = 0;
  #busyBytes = 0;

  /** With `bitsPerS` the rate is given and never measured. */
  constructor(bitsPerS?: number) {
    this.#fixed = bitsPerS !== undefined;
    this.#bitsPerS = bitsPerS ?? ASSUMED_LINK_BITS_PER_S;
  }

  get bitsPerS(): number {
    return this.#bitsPerS;
  }

  /** False while the rate is assumed. */
  get known(): boolean {
    return this.#fixed || this.#measured;
  }

  /** Bytes were handed to the socket. */
  queued(nowMs: number): void {
    if (this.#waiting === 0) {
      this.#busySinceMs = nowMs;
      this.#busyBytes = 0;
    }
    this.#waiting += 1;
  }

  /** The kernel took bytes handed over before; the busy period ends with the last of them. */
  taken(bytes: number, nowMs: number): void {
    this.#waiting -= 1;
    this.#busyBytes += bytes;
    if (this.#waiting > 0 || this.#fixed || this.#busyBytes < MIN_MEASURED_BYTES) return;
    const bitsPerS = (this.#busyBytes * 8 * 1000) / Math.max(nowMs - this.#busySinceMs, 0.01);
    this.#bitsPerS = this.#measured ? this.#bitsPerS * (1 - WEIGHT) + bitsPerS * WEIGHT : bitsPerS;
    this.#measured = true;
  }
}
