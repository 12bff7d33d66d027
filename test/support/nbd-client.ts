/** A small NBD client, so that tests can say exactly which request they send; real clients are in nbd-clients.test.ts. */

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

export const Nbd = { read: 0, write: 1, disconnect: 2, flush: 3, trim: 4, writeZeroes: 6 } as const;
export const NbdFlag = { fua: 1, noHole: 2 } as const;
const OPTION_MAGIC = 0x49484156454f5054n;
const REQUEST_MAGIC = 0x25609513;
const OPTION_GO = 7;
const REPLY_ACK = 1;
const REPLY_INFO = 3;

/** An error the server answered, as NBD numbers them. */
export class NbdError extends Error {
  readonly error: number;
  constructor(error: number) {
    super(`NBD error ${error}`);
    this.error = error;
  }
}

export interface OptionReply {
  type: number;
  data: Buffer;
}

export class NbdClient {
  readonly #socket: Socket;
  readonly #waiting = new Map<bigint, { bytes: number; settle: (error: number, data: Buffer) => void }>();
  #received = Buffer.alloc(0);
  #onData: () => void = () => {};
  #cookie = 0n;
  sizeBytes = 0;
  flags = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('error', () => {});
    socket.on('data', (data) => {
      this.#received = Buffer.concat([this.#received, data]);
      this.#onData();
    });
    socket.on('close', () => this.#onData());
  }

  /** Connects and sends the client's flags; options may follow. */
  static async greet(path: string, flags = 3): Promise<NbdClient> {
    const socket = connect(path);
    await once(socket, 'connect');
    const client = new NbdClient(socket);
    await client.#take(18);
    const answer = Buffer.alloc(4);
    answer.writeUInt32BE(flags);
    socket.write(answer);
    return client;
  }

  /** Connects, and goes on to requests. */
  static async open(path: string, name = ''): Promise<NbdClient> {
    const client = await NbdClient.greet(path);
    const data = Buffer.alloc(6 + name.length);
    data.writeUInt32BE(name.length, 0);
    data.write(name, 4);
    client.option(OPTION_GO, data);
    for (;;) {
      const reply = await client.optionReply();
      if (reply.type === REPLY_INFO && reply.data.readUInt16BE(0) === 0) {
        client.sizeBytes = Number(reply.data.readBigUInt64BE(2));
        client.flags = reply.data.readUInt16BE(10);
      }
      if (reply.type === REPLY_ACK) break;
      if (reply.type > 0x7fffffff) throw new NbdError(reply.type);
    }
    void client.#answers();
    return client;
  }

  option(option: number, data: Buffer = Buffer.alloc(0)): void {
    const head = Buffer.alloc(16);
    head.writeBigUInt64BE(OPTION_MAGIC, 0);
    head.writeUInt32BE(option, 8);
    head.writeUInt32BE(data.length, 12);
    this.raw(Buffer.concat([head, data]));
  }

  async optionReply(): Promise<OptionReply> {
    const head = await this.#take(20);
    return { type: head.readUInt32BE(12), data: await this.#take(head.readUInt32BE(16)) };
  }

  raw(data: Buffer): void {
    this.#socket.write(data);
  }

  /** Rejects with NbdError when the server says no, and when the connection ends first. */
  request(command: number, offset: number, bytes: number, data?: Buffer, flags = 0): Promise<Buffer> {
    this.#cookie += 1n;
    const cookie = this.#cookie;
    const head = Buffer.alloc(28);
    head.writeUInt32BE(REQUEST_MAGIC, 0);
    head.writeUInt16BE(flags, 4);
    head.writeUInt16BE(command, 6);
    head.writeBigUInt64BE(cookie, 8);
    head.writeBigUInt64BE(BigInt(offset), 16);
    head.writeUInt32BE(bytes, 24);
    return new Promise((resolve, reject) => {
      const settle = (error: number, answer: Buffer) =>
        error === 0 ? resolve(answer) : reject(new NbdError(error));
      this.#waiting.set(cookie, { bytes: command === Nbd.read ? bytes : 0, settle });
      this.raw(data === undefined ? head : Buffer.concat([head, data]));
    });
  }

  read(offset: number, bytes: number): Promise<Buffer> {
    return this.request(Nbd.read, offset, bytes);
  }

  async write(offset: number, data: Buffer, flags = 0): Promise<void> {
    await this.request(Nbd.write, offset, data.length, data, flags);
  }

  async zero(offset: number, bytes: number, flags = 0): Promise<void> {
    await this.request(Nbd.writeZeroes, offset, bytes, undefined, flags);
  }

  async trim(offset: number, bytes: number): Promise<void> {
    await this.request(Nbd.trim, offset, bytes);
  }

  async flush(): Promise<void> {
    await this.request(Nbd.flush, 0, 0);
  }

  /** Resolves when the server has hung up. */
  async hungUp(): Promise<void> {
    if (!this.#socket.closed) await once(this.#socket, 'close');
  }

  close(): void {
    this.#socket.destroy();
  }

  async #answers(): Promise<void> {
    try {
      for (;;) {
        const head = await this.#take(16);
        const error = head.readUInt32BE(4);
        const waiting = this.#waiting.get(head.readBigUInt64BE(8));
        const data = await this.#take(error === 0 ? (waiting?.bytes ?? 0) : 0);
        this.#waiting.delete(head.readBigUInt64BE(8));
        waiting?.settle(error, data);
      }
    } catch {
      for (const { settle } of this.#waiting.values()) settle(-1, Buffer.alloc(0));
    }
  }

  async #take(bytes: number): Promise<Buffer> {
    while (this.#received.length < bytes) {
      if (this.#socket.destroyed) throw new Error('the server hung up');
      await new Promise<void>((resolve) => {
        this.#onData = resolve;
      });
    }
    const taken = this.#received.subarray(0, bytes);
    this.#received = this.#received.subarray(bytes);
    return taken;
  }
}
