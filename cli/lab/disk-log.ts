/** A client of the guest's disk log (guest/diskcheck.c): each record is durable in the guest before it is acknowledged. */

import { Connection, untilAnswered } from './connection.ts';
import type { Segment } from './segment.ts';
import { WriteLoop } from './write-loop.ts';

const DISK_LOG_PORT = 7001;

export class DiskLog {
  readonly #connection: Connection;
  #received = '';
  readonly #writes = new WriteLoop();
  /** Records this client was told are durable. */
  acknowledged = 0;

  private constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Connects as soon as the guest serves its log; gives up with what the last try threw. */
  static open(segment: Segment, timeoutMs: number): Promise<DiskLog> {
    return untilAnswered(
      timeoutMs,
      () => new DiskLog(new Connection(segment, DISK_LOG_PORT)),
      async (log) => {
        log.acknowledged = await log.onDisk();
      },
    );
  }

  /** Causes one record after the other, until stop(). */
  start(): void {
    this.#writes.start(async () => {
      this.acknowledged = await this.#ask('w');
    });
  }

  /** Rejects if the connection broke meanwhile. */
  stop(): Promise<void> {
    return this.#writes.stop();
  }

  /** The last record that the guest's disk holds, with all before it, read from the disk. */
  onDisk(): Promise<number> {
    return this.#ask('r');
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  async #ask(command: 'w' | 'r'): Promise<number> {
    await this.#connection.write(`${command}\n`);
    while (!this.#received.includes('\n')) this.#received += await this.#connection.read();
    const end = this.#received.indexOf('\n');
    const answer = Number(this.#received.slice(0, end));
    this.#received = this.#received.slice(end + 1);
    return answer;
  }
}
