/** Decides when an epoch ends, by absolute deadlines, so that lateness never adds up. */

export class Pacer {
  readonly intervalMs: number;
  #deadlineMs: number;

  constructor(intervalMs: number, nowMs: number) {
    this.intervalMs = intervalMs;
    this.#deadlineMs = nowMs + intervalMs;
  }

  /** Milliseconds to wait before the next checkpoint; 0 when it is already due. */
  delayMs(nowMs: number): number {
    return Math.max(0, this.#deadlineMs - nowMs);
  }

  /**
   * A checkpoint ended at `nowMs` after stopping the guest for `pauseMs`. The next deadline lies on the same grid unless
   * the checkpoint was late by more than an interval: then the grid starts anew, rather than firing a burst to catch up.
   * The guest runs at least as long as it was stopped, whatever the interval asks.
   */
  done(nowMs: number, pauseMs: number): void {
    const next = this.#deadlineMs + this.intervalMs;
    this.#deadlineMs = next > nowMs ? next : nowMs + this.intervalMs;
    this.#deadlineMs = Math.max(this.#deadlineMs, nowMs + pauseMs);
  }
}
