/** The agent's end of the keeper: a word to the preload library before each pause, so that a dead agent leaves no stopped guest. */

import { rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { RomulusError } from '../../shared/errors.ts';
import { listeningInodes } from './qemu-owner.ts';

/** 'P' a checkpoint begins, 'R' the guest runs, 'F' it stays paused for ever: native/preload/keeper.h. */
export type KeeperWord = 'P' | 'R' | 'F';

export class QemuKeeper {
  readonly #server: Server;
  #socket: Socket | undefined;
  #arrived: (() => void) | undefined;
  #word: KeeperWord = 'R';

  private constructor(server: Server) {
    this.#server = server;
    server.on('connection', (socket) => {
      this.#socket = socket;
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        if (this.#socket === socket) this.#socket = undefined;
      });
      if (this.#word !== 'R') socket.write(this.#word);
      this.#arrived?.();
    });
  }

  /** Listens for the library inside QEMU. VM_BUSY when another agent does. */
  static async listen(path: string): Promise<QemuKeeper> {
    if ((await listeningInodes(path)).length > 0) {
      const hint = 'romulus status; one agent at a time protects a guest';
      throw new RomulusError('VM_BUSY', `another agent holds the guest (${path})`, { hint });
    }
    await rm(path, { force: true });
    const server = createServer();
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
    return new QemuKeeper(server);
  }

  /** Resolves true once the library is connected, false after `timeoutMs`. */
  arrived(timeoutMs: number): Promise<boolean> {
    if (this.#socket) return Promise.resolve(true);
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(false), timeoutMs);
      this.#arrived = () => {
        clearTimeout(timer);
        resolve(true);
      };
    });
  }

  get connected(): boolean {
    return this.#socket !== undefined;
  }

  /** Resolves when the kernel has the word: from then on it reaches the library whatever becomes of us. */
  say(word: KeeperWord): Promise<void> {
    if (this.#word !== 'F') this.#word = word;
    const socket = this.#socket;
    if (!socket) return Promise.resolve();
    return new Promise((resolve) => socket.write(word, () => resolve()));
  }

  /** The library takes the end for an agent's death, and does what the last word asks for. */
  close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#socket?.destroy();
    return closed;
  }
}
