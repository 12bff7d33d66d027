/** One TCP connection from inside the lab's network segment, held by a busybox `nc` there; it lives as long as that process. */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { RomulusError } from '../../shared/errors.ts';
import { GUEST_ADDRESS, type Segment } from './segment.ts';

const CONNECT_POLL_MS = 200;

export class Connection {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #ended: Promise<void>;
  #waiting: (() => void) | undefined;
  #chunks: Buffer[] = [];
  #bytes = 0;
  open = true;

  /** Connects to a port of the guest. A guest that does not answer yet shows as a connection that ends. */
  constructor(segment: Segment, port: number) {
    const [file = '', ...args] = [...segment.launcher, 'busybox', 'nc', GUEST_ADDRESS, String(port)];
    this.#child = spawn(file, args, { stdio: ['pipe', 'pipe', 'ignore'] });
    this.#child.stdin.on('error', () => {}); // the end is told by 'close'
    this.#child.stdout.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      this.#bytes += chunk.length;
      this.#waiting?.();
    });
    this.#ended = new Promise((resolve) => {
      this.#child.once('error', () => this.#end(resolve));
      this.#child.once('close', () => this.#end(resolve));
    });
  }

  #end(resolve: () => void): void {
    this.open = false;
    this.#waiting?.();
    resolve();
  }

  /** Resolves when the pipe took it. */
  write(data: string | Buffer): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#child.stdin.write(data, (error) => (error ? reject(ended(error)) : resolve()));
    });
  }

  /** The next bytes that came, at least one. Throws once the connection has ended. */
  async read(): Promise<Buffer> {
    while (this.#bytes === 0) {
      if (!this.open) throw ended();
      await new Promise<void>((resolve) => {
        this.#waiting = resolve;
      });
    }
    const data = Buffer.concat(this.#chunks);
    this.#chunks = [];
    this.#bytes = 0;
    return data;
  }

  /** Closes it and waits for its end. */
  async close(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#ended;
  }
}

/** Makes clients until one is answered; gives up with what the last try threw. A guest that boots refuses at first. */
export async function untilAnswered<Client extends { close(): Promise<void> }>(
  timeoutMs: number,
  connect: () => Client,
  ask: (client: Client) => Promise<unknown>,
): Promise<Client> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const client = connect();
    try {
      await ask(client);
      return client;
    } catch (thrown) {
      await client.close();
      if (performance.now() > deadline) throw thrown;
      await delay(CONNECT_POLL_MS);
    }
  }
}

function ended(cause?: unknown): RomulusError {
  return new RomulusError('PEER_UNREACHABLE', 'the connection to the guest has ended', { cause });
}
