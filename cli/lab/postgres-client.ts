/** One connection to the guest's PostgreSQL: its simple query protocol, over the lab's own way into the segment. */

import { Connection, untilAnswered } from './connection.ts';
import type { Segment } from './segment.ts';

const POSTGRES_PORT = 5432;
const PROTOCOL = 196_608;
/** An answer of a test is never longer. */
const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

export class PostgresClient {
  readonly #connection: Connection;
  #received = Buffer.alloc(0);

  private constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Connects as soon as the database answers queries; gives up with what the last try threw. */
  static open(segment: Segment, timeoutMs: number): Promise<PostgresClient> {
    return untilAnswered(
      timeoutMs,
      () => new PostgresClient(new Connection(segment, POSTGRES_PORT)),
      (client) => client.#start(),
    );
  }

  /** The rows of one statement, as text. Throws what the server says is wrong, or that the connection has ended. */
  async query(sql: string): Promise<(string | null)[][]> {
    const text = Buffer.from(`${sql}\0`);
    const head = Buffer.alloc(5);
    head.write('Q', 0);
    head.writeInt32BE(text.length + 4, 1);
    await this.#connection.write(Buffer.concat([head, text]));
    return this.#answer();
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  async #start(): Promise<void> {
    const names = Buffer.from('user\0postgres\0database\0postgres\0\0');
    const head = Buffer.alloc(8);
    head.writeInt32BE(8 + names.length, 0);
    head.writeInt32BE(PROTOCOL, 4);
    await this.#connection.write(Buffer.concat([head, names]));
    await this.#answer();
  }

  /** Everything up to "ready for query". */
  async #answer(): Promise<(string | null)[][]> {
    const rows: (string | null)[][] = [];
    let error: Error | undefined;
    for (;;) {
      const { type, body } = await this.#message();
      if (type === 'D') rows.push(columns(body));
      else if (type === 'E') error = new Error(`PostgreSQL: ${errorText(body)}`);
      else if (type === 'Z') {
        if (error) throw error;
        return rows;
      }
      // An error before the server is ready ends the connection: no "ready" follows.
      if (type === 'E' && /FATAL/.test(error?.message ?? '')) throw error;
    }
  }

  async #message(): Promise<{ type: string; body: Buffer }> {
    await this.#have(5);
    const length = this.#received.readInt32BE(1);
    if (length < 4 || length > MAX_MESSAGE_BYTES) throw new Error(`a message of ${length} bytes`);
    await this.#have(1 + length);
    const type = String.fromCharCode(this.#received[0] ?? 0);
    const body = this.#received.subarray(5, 1 + length);
    this.#received = this.#received.subarray(1 + length);
    return { type, body };
  }

  async #have(bytes: number): Promise<void> {
    while (this.#received.length < bytes) {
      this.#received = Buffer.concat([this.#received, await this.#connection.read()]);
    }
  }
}

function columns(body: Buffer): (string | null)[] {
  const values: (string | null)[] = [];
  let at = 2;
  for (let left = body.readInt16BE(0); left > 0; left--) {
    const length = body.readInt32BE(at);
    at += 4;
    values.push(length < 0 ? null : body.toString('utf8', at, at + length));
    at += Math.max(0, length);
  }
  return values;
}

/** Severity and message; fields are a letter and a text each. */
function errorText(body: Buffer): string {
  const fields = body.toString('utf8').split('\0');
  return fields
    .filter((field) => field.startsWith('S') || field.startsWith('M'))
    .map((field) => field.slice(1))
    .join(' ');
}
