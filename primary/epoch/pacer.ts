/** Decides when an epoch ends, by absolute deadlines, so that lateness never adds up. */

import { type EpochBounds, EpochLength } from './epoch-length.ts';

export class Pacer {
  readonly #length: EpochLength;
  #deadlineMs: number;

  constructor(bounds: EpochBounds, nowMs = 0) {
    this.#length = new EpochLength(bounds);
    this.#deadlineMs = nowMs + this.#length.ms;
  }

  /** Epochs begin, or begin anew: the first ends an interval from now. */
  start(nowMs: number): void {
    this.#deadlineMs = nowMs + this.#length.ms;
  }

  get intervalMs(): number {
    return this.#length.ms;
  }

  /** Milliseconds to wait before the next checkpoint; 0 when it is already due. */
  delayMs(nowMs: number): number {
    return Math.max(0, this.#deadlineMs - nowMs);
  }

  /**
   * A checkpoint ended at `nowMs` after stopping the guest for `pauseMs`, with `inFlight` epochs not acknowledged. The next
   * deadline lies an interval after the last unless the checkpoint was late by more than that: then the grid starts anew,
   * rather than firing a burst to catch up. The guest runs at least as long as it was stopped, whatever the interval asks.
   */
  done(nowMs: number, pauseMs: number, inFlight: number): void {
    this.#length.captured(pauseMs, inFlight);
    const next = this.#deadlineMs + this.#length.ms;
    this.#deadlineMs = next > nowMs ? next : nowMs + this.#length.ms;
    this.#deadlineMs = Math.max(this.#deadlineMs, nowMs + pauseMs);
  }

  /** An epoch was acknowledged `commitMs` after its end. */
  committed(commitMs: number): void {
    this.#length.committed(commitMs);
  }
}
