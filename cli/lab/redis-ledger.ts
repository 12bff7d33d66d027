/** A client that writes to the guest's Redis over one connection and keeps a ledger of every acknowledged write. */

import { setTimeout as delay } from 'node:timers/promises';
import { Samples } from '../../shared/samples.ts';
import { Connection, untilAnswered } from './connection.ts';
import type { Segment } from './segment.ts';
import { WriteLoop } from './write-loop.ts';

const REDIS_PORT = 6379;
const REPLY_END = '\r\n';

export class RedisLedger {
  readonly #connection: Connection;
  #received = '';
  readonly #writes = new WriteLoop();
  /** Writes acknowledged: keys w1 to wN, each with its number as its value. */
  acknowledged = 0;
  /** Longest time between two acknowledgements. */
  longestGapMs = 0;

  private constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Connects as soon as Redis answers in the guest; gives up with what the last try threw. */
  static open(segment: Segment, timeoutMs: number): Promise<RedisLedger> {
    return untilAnswered(
      timeoutMs,
      () => new RedisLedger(new Connection(segment, REDIS_PORT)),
      (ledger) => ledger.#call('PING'),
    );
  }

  get survived(): boolean {
    return this.#connection.open;
  }

  /** Writes one after the other, each acknowledged before the next, until stop(). */
  start(): void {
    let last = performance.now();
    this.#writes.start(async () => {
      const next = this.acknowledged + 1;
      await this.#call(`SET w${next} ${next}`);
      this.acknowledged = next;
      const now = performance.now();
      this.longestGapMs = Math.max(this.longestGapMs, now - last);
      last = now;
    });
  }

  /** Ends the writing and waits for the last acknowledgement; rejects if the connection was lost. */
  stop(): Promise<void> {
    return this.#writes.stop();
  }

  /** Acknowledged writes that Redis does not know, asked over the same connection. */
  async lost(): Promise<number> {
    let lost = 0;
    for (let i = 1; i <= this.acknowledged; i++) {
      const found = await this.#call(`GET w${i}`);
      if (found !== String(i)) lost += 1;
    }
    return lost;
  }

  /**
   * Time of single requests, each at a random moment up to `thinkMs` after the answer before it: a client that asked again
   * at once would always meet the beginning of an epoch.
   */
  async latencies(requests: number, thinkMs: number): Promise<Samples> {
    const samples = new Samples(requests);
    for (let i = 0; i < requests; i++) {
      await delay(Math.random() * thinkMs);
      const began = performance.now();
      await this.#call(`SET latency ${i}`);
      samples.add(performance.now() - began);
    }
    return samples;
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  /** One inline command; a status or bulk reply's text, '' for nil. */
  async #call(command: string): Promise<string> {
    await this.#connection.write(`${command}${REPLY_END}`);
    const head = await this.#line();
    if (head.startsWith('-')) throw new Error(`Redis said ${head}`);
    if (!head.startsWith('$')) return head.slice(1);
    return head === '$-1' ? '' : this.#line();
  }

  async #line(): Promise<string> {
    while (!this.#received.includes(REPLY_END)) this.#received += await this.#connection.read();
    const end = this.#received.indexOf(REPLY_END);
    const line = this.#received.slice(0, end);
    this.#received = this.#received.slice(end + REPLY_END.length);
    return line;
  }
}
