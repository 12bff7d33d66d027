/** A primary that speaks the wire by hand, to say what no real one would. */

import type { WebSocket } from 'ws';
import type { Endpoint } from '../../shared/config.ts';
import { decodeFrame, encodeFrame, type Frame, type FramedPayload } from '../../shared/wire/frame.ts';
import { Kind } from '../../shared/wire/messages.ts';
import { dial } from '../../shared/wire/socket.ts';
import { RAM_BYTES, SILENCE_MS, spec } from './pair.ts';

export const hello = {
  protocol: [1, 1],
  node: 'alpha',
  vm: 'vm',
  term: 1,
  lineage: 'line-1',
  acked: 0,
  geometry: { arch: 'x86_64', ramBytes: RAM_BYTES, cpus: 1, hypervisor: 'synthetic 1' },
  spec,
  protection: { failover: 'manual', onBackupLoss: 'hold', witness: false, silenceMs: SILENCE_MS },
};

export class RawPeer {
  readonly #socket: WebSocket;
  readonly #frames: Frame[] = [];
  #waiting: ((frame: Frame | undefined) => void)[] = [];
  #ended = false;
  #sequence = 0;

  static async connect(endpoint: Endpoint): Promise<RawPeer> {
    return dial(endpoint, undefined, (socket) => new RawPeer(socket));
  }

  constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.on('message', (data) => {
      const frame = decodeFrame(data as Buffer);
      if (frame.kind === Kind.beat || frame.kind === Kind.answer) return;
      const waiter = this.#waiting.shift();
      if (waiter) waiter(frame);
      else this.#frames.push(frame);
    });
    socket.on('close', () => {
      this.#ended = true;
      for (const waiter of this.#waiting.splice(0)) waiter(undefined);
    });
    socket.on('error', () => {}); // 'close' follows
  }

  send(kind: number, head: object, payload?: FramedPayload): void {
    this.#socket.send(Buffer.from(encodeFrame(kind, this.#sequence++, head, payload)));
  }

  /** Sends bytes as they are, as one message. */
  sendRaw(message: Buffer | string): void {
    this.#socket.send(message);
  }

  /** The next frame that is no beat; undefined when the connection ended instead. */
  next(): Promise<Frame | undefined> {
    const frame = this.#frames.shift();
    if (frame || this.#ended) return Promise.resolve(frame);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Hello and sync, up to the backup's ready. */
  async synced(): Promise<void> {
    this.send(Kind.hello, hello);
    await this.next();
    this.send(Kind.sync, { lineage: 'line-1' });
    await this.next();
  }

  /** The code of the error the backup answers with. */
  async refusal(): Promise<unknown> {
    const frame = await this.next();
    return frame?.kind === Kind.error ? frame.head.code : frame;
  }

  close(): void {
    this.#socket.terminate();
  }
}
