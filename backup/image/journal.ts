/** Epochs staged whole before they are applied: one file each, made of the very frames that came, renamed when committed. */

import {
  closeSync,
  fstatSync,
  fsyncSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { ioError } from '../../shared/durable-file.ts';
import { RomulusError } from '../../shared/errors.ts';
import type { Epoch } from '../../shared/vm.ts';
import { decodeFrame, type Frame, frameLengthAt, PREFIX_BYTES } from '../../shared/wire/frame.ts';

const STAGED = /^epoch-(\d+)\.part$/;
const COMMITTED = /^epoch-(\d+)\.committed$/;

/** `memory`: survives the agent. `disk`: fsynced before the acknowledgement, survives the host. */
export type Durability = 'memory' | 'disk';

export class Journal {
  readonly #dir: string;
  readonly #durability: Durability;
  #staged: { epoch: Epoch; fd: number } | undefined;

  constructor(dir: string, durability: Durability) {
    this.#dir = dir;
    this.#durability = durability;
  }

  /** Appends one frame of the epoch being staged; throws IMAGE_FULL or IMAGE_IO, and the epoch is then given up. */
  append(epoch: Epoch, message: Buffer): void {
    try {
      if (this.#staged?.epoch !== epoch) {
        this.abort();
        this.#staged = { epoch, fd: openSync(this.#path(epoch, 'part'), 'w', 0o600) };
      }
      for (let done = 0; done < message.length; ) done += writeSync(this.#staged.fd, message, done);
    } catch (cause) {
      this.abort();
      throw ioError(`cannot stage epoch ${epoch} in ${this.#dir}`, cause);
    }
  }

  /** The commit record: from the rename on, the epoch counts. */
  commit(epoch: Epoch): void {
    if (this.#staged?.epoch !== epoch) throw new RomulusError('INTERNAL', `epoch ${epoch} is not staged`);
    try {
      if (this.#durability === 'disk') fsyncSync(this.#staged.fd);
      closeSync(this.#staged.fd);
      this.#staged = undefined;
      renameSync(this.#path(epoch, 'part'), this.#path(epoch, 'committed'));
      if (this.#durability === 'disk') this.#syncDirectory();
    } catch (cause) {
      throw ioError(`cannot commit epoch ${epoch} in ${this.#dir}`, cause);
    }
  }

  /** Drops what is staged and not committed. */
  abort(): void {
    if (this.#staged === undefined) return;
    closeSync(this.#staged.fd);
    rmSync(this.#path(this.#staged.epoch, 'part'), { force: true });
    this.#staged = undefined;
  }

  /** The image holds this epoch: its file has served. */
  forget(epoch: Epoch): void {
    rmSync(this.#path(epoch, 'committed'), { force: true });
  }

  /** After a restart: partial epochs are removed, committed ones listed in order. */
  recover(): Epoch[] {
    const committed: Epoch[] = [];
    for (const file of readdirSync(this.#dir)) {
      if (STAGED.test(file)) rmSync(join(this.#dir, file));
      const match = COMMITTED.exec(file);
      if (match) committed.push(Number(match[1]));
    }
    return committed.sort((a, b) => a - b);
  }

  /** The frames of a committed epoch, one in memory at a time; throws IMAGE_CORRUPT if they are not what was staged. */
  *frames(epoch: Epoch): Generator<Frame> {
    const path = this.#path(epoch, 'committed');
    const fd = openSync(path, 'r');
    try {
      const end = fstatSync(fd).size;
      for (let at = 0; at < end; ) {
        const prefix = readAt(fd, at, Math.min(PREFIX_BYTES, end - at));
        const message = readAt(fd, at, frameLengthAt(prefix, 0, end - at));
        yield decodeFrame(message);
        at += message.length;
      }
    } catch (cause) {
      throw new RomulusError('IMAGE_CORRUPT', `staged epoch ${epoch} in ${path} is damaged`, {
        hint: 'the standby needs a full copy: on the primary, unprotect and protect the VM again',
        cause,
      });
    } finally {
      closeSync(fd);
    }
  }

  /** All of them at once. */
  read(epoch: Epoch): Frame[] {
    return [...this.frames(epoch)];
  }

  /** Removes every staged and committed epoch, as when a new lineage begins. */
  clear(): void {
    this.abort();
    for (const epoch of this.recover()) this.forget(epoch);
  }

  #path(epoch: Epoch, suffix: 'part' | 'committed'): string {
    return join(this.#dir, `epoch-${epoch}.${suffix}`);
  }

  #syncDirectory(): void {
    const directory = openSync(this.#dir, 'r');
    try {
      fsyncSync(directory);
    } finally {
      closeSync(directory);
    }
  }
}

function readAt(fd: number, position: number, bytes: number): Buffer {
  const data = Buffer.allocUnsafe(bytes);
  for (let done = 0; done < bytes; ) {
    const got = readSync(fd, data, done, bytes - done, position + done);
    if (got === 0) throw new RomulusError('IMAGE_CORRUPT', 'the file has become shorter');
    done += got;
  }
  return data;
}
