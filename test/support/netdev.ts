/** Stands for QEMU's stream netdev: listens on a unix socket, sends Ethernet frames, and keeps those it is given. */

import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';

const LENGTH_BYTES = 4;

export class FakeNetdev {
  readonly path: string;
  readonly received: Buffer[] = [];
  readonly #server: Server;
  #socket: Socket | undefined;
  #pending = Buffer.alloc(0);
  #onFrame: () => void = () => {};

  private constructor(path: string, server: Server) {
    this.path = path;
    this.#server = server;
    server.on('connection', (socket) => {
      this.#socket = socket;
      socket.on('error', () => socket.destroy());
      socket.on('data', (data) => this.#take(data));
    });
  }

  static async listen(path: string): Promise<FakeNetdev> {
    const server = createServer();
    server.listen(path);
    await once(server, 'listening');
    return new FakeNetdev(path, server);
  }

  /** Resolves when the kernel has the frames: a relay that drains its socket then sees them. */
  async send(...frames: Buffer[]): Promise<void> {
    if (this.#socket === undefined) await once(this.#server, 'connection');
    const data = frames.flatMap((frame) => {
      const length = Buffer.alloc(LENGTH_BYTES);
      length.writeUInt32BE(frame.length);
      return [length, frame];
    });
    await this.sendRaw(Buffer.concat(data));
  }

  /** Resolves when a relay connects from now on. */
  async nextConnection(): Promise<void> {
    await once(this.#server, 'connection');
  }

  sendRaw(data: Buffer): Promise<void> {
    return new Promise((resolve) => this.#socket?.write(data, () => resolve()));
  }

  /** Resolves once a frame that fits has come. */
  async frame(fits: (frame: Buffer) => boolean): Promise<Buffer> {
    for (;;) {
      const found = this.received.find(fits);
      if (found) return found;
      await new Promise<void>((resolve) => {
        this.#onFrame = resolve;
      });
    }
  }

  async close(): Promise<void> {
    this.#socket?.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.path, { force: true });
  }

  #take(data: Buffer): void {
    this.#pending = Buffer.concat([this.#pending, data]);
    while (this.#pending.length >= LENGTH_BYTES) {
      const end = LENGTH_BYTES + this.#pending.readUInt32BE(0);
      if (this.#pending.length < end) return;
      this.received.push(this.#pending.subarray(LENGTH_BYTES, end));
      this.#pending = this.#pending.subarray(end);
      this.#onFrame();
    }
  }
}
