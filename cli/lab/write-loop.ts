/** Writes of a client, each acknowledged before the next, until somebody stops it. */

export class WriteLoop {
  #stopped = false;
  #writing: Promise<void> = Promise.resolve();

  /** `write` resolves with the acknowledgement, and rejects when the connection was lost. */
  start(write: () => Promise<void>): void {
    this.#writing = this.#run(write);
    this.#writing.catch(() => {}); // stop() tells
  }

  /** Waits for the last acknowledgement; rejects if the connection was lost meanwhile. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#writing;
  }

  async #run(write: () => Promise<void>): Promise<void> {
    while (!this.#stopped) await write();
  }
}
