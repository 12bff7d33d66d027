/** A client of the guest's disk log (guest/diskcheck.c): each record is durable in the guest before it is acknowledged. */

import { setTimeout as delay } from 'node:timers/promises';
import { Connection } from './connection.ts';
import type { Segment } from './segment.ts';

const DISK_LOG_PORT = 7001;
const CONNECT_POLL_MS = 200;

export class DiskLog {
  readonly #connection: Connection;
  #received = '';
  #stopped = false;
  #writing: Promise<void> = Promise.resolve();
  /** Records this client was told are durable. */
  acknowledged = 0;

  private constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Connects as soon as the guest serves its log; gives up with what the last try threw. */
  static async open(segment: Segment, timeoutMs: number): Promise<DiskLog> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const log = new DiskLog(new Connection(segment, DISK_LOG_PORT));
      try {
        log.acknowledged = await log.onDisk();
        return log;
      } catch (thrown) {
        await log.close();
        if (performance.now() > deadline) throw thrown;
        await delay(CONNECT_POLL_MS);
      }
    }
  }

  /** Causes one record after the other, until stop(). */
  start(): void {
    this.#writing = this.#write();
    this.#writing.catch(() => {}); // stop() tells
  }

  /** Rejects if the connection broke meanwhile. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#writing;
  }

  /** The last record that the guest's disk holds, with all before it, read from the disk. */
  onDisk(): Promise<number> {
    return this.#ask('r');
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  async #write(): Promise<void> {
    while (!this.#stopped) this.acknowledged = await this.#ask('w');
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
