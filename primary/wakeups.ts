/** What a replica waits on: a change of anything it depends on, an end of its epoch's wait, or time, until it is stopped. */

export class Wakeups {
  readonly #stop = new AbortController();
  #epoch: () => void = () => {};
  #changed: (() => void)[] = [];

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  get stopped(): boolean {
    return this.#stop.signal.aborted;
  }

  /** Every wait ends, and none begins again. */
  stop(): void {
    this.#stop.abort();
    this.all();
  }

  /** `wake` ends the wait that the epoch loop is in. */
  onEpochWait(wake: () => void): void {
    this.#epoch = wake;
  }

  /** An acknowledgement came, or the running epoch must end. */
  epoch(): void {
    this.#epoch();
  }

  all(): void {
    this.#epoch();
    for (const changed of this.#changed.splice(0)) changed();
  }

  /** Resolves with the next all(); at once after stop(). */
  change(): Promise<void> {
    if (this.stopped) return Promise.resolve();
    return new Promise((resolve) => this.#changed.push(resolve));
  }

  /** Resolves after `ms`, or at stop(). */
  sleep(ms: number): Promise<void> {
    if (this.stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const over = () => {
        clearTimeout(timer);
        this.signal.removeEventListener('abort', over);
        resolve();
      };
      const timer = setTimeout(over, ms);
      this.signal.addEventListener('abort', over);
    });
  }
}
