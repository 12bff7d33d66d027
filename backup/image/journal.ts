/** Epochs staged whole before they are applied: one file each, made of the very frames that came, renamed when committed. */

import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  write,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ioError } from '../../shared/durable-file.ts';
import { RomulusError } from '../../shared/errors.ts';
import type { Epoch } from '../../shared/vm.ts';
import { decodeFrame, type Frame, frameLengthAt, PREFIX_BYTES } from '../../shared/wire/frame.ts';

const STAGED = /^epoch-(\d+)\.part$/;
const SPARE = /^epoch-(\d+)\.spare$/;
const COMMITTED = /^epoch-(\d+)\.committed$/;

/** `memory`: survives the agent. `disk`: fsynced before the acknowledgement, survives the host. */
export type Durability = 'memory' | 'disk';

/** A frame this long is written on another thread, beside what is received meanwhile, unless it is the first: few epochs have more. */
const MIN_ASIDE_BYTES = 256 * 1024;

const writeAside = promisify(write);

/** The file of the epoch that is coming in. */
interface StagedFile {
  epoch: Epoch;
  fd: number;
  bytes: number;
  /** Frames being written aside: the file must stay open until they are. */
  writing: Set<Promise<unknown>>;
}

/** Kept to be written over, together: as much as is staged while earlier epochs wait to be applied. */
const MAX_SPARES = 16;
const MAX_SPARE_BYTES = 16 * 1024 * 1024;

export class Journal {
  readonly #dir: string;
  readonly #durability: Durability;
  #staged: StagedFile | undefined;
  /** Bytes of committed epochs. */
  readonly #committed = new Map<Epoch, number>();
  /** Files that have served and are written over: giving tmpfs pages back and asking for others takes longer than the copy. */
  #spares: { path: string; bytes: number }[] = [];
  #spareBytes = 0;

  constructor(dir: string, durability: Durability) {
    this.#dir = dir;
    this.#durability = durability;
  }

  /**
   * Appends one frame of the epoch being staged; resolves when it is written, until when it must stay as it is. Throws or
   * rejects with IMAGE_FULL or IMAGE_IO, and the epoch is then given up.
   */
  append(epoch: Epoch, message: Buffer): Promise<void> {
    try {
      if (this.#staged?.epoch !== epoch) {
        this.abort();
        this.#staged = { epoch, fd: this.#open(epoch), bytes: 0, writing: new Set() };
      }
      const file = this.#staged;
      const at = file.bytes;
      file.bytes += message.length;
      if (at > 0 && message.length >= MIN_ASIDE_BYTES) return this.#appendAside(file, message, at);
      for (let done = 0; done < message.length; )
        done += writeSync(file.fd, message, done, message.length - done, at + done);
      return Promise.resolve();
    } catch (cause) {
      throw this.#failed(epoch, cause);
    }
  }

  async #appendAside(file: StagedFile, message: Buffer, at: number): Promise<void> {
    try {
      for (let done = 0; done < message.length; ) {
        const writing = writeAside(file.fd, message, done, message.length - done, at + done);
        file.writing.add(writing);
        done += (await writing.finally(() => file.writing.delete(writing))).bytesWritten;
      }
    } catch (cause) {
      throw this.#failed(file.epoch, cause);
    }
  }

  #failed(epoch: Epoch, cause: unknown): RomulusError {
    if (this.#staged?.epoch === epoch) this.abort();
    return ioError(`cannot stage epoch ${epoch} in ${this.#dir}`, cause);
  }

  /** The commit record: from the rename on, the epoch counts. Every append() to it must have resolved. */
  commit(epoch: Epoch): void {
    if (this.#staged?.epoch !== epoch || this.#staged.writing.size > 0)
      throw new RomulusError('INTERNAL', `epoch ${epoch} is not staged`);
    const { fd, bytes } = this.#staged;
    try {
      ftruncateSync(fd, bytes); // a longer epoch may have had this file before
      if (this.#durability === 'disk') fsyncSync(fd);
      closeSync(fd);
      this.#committed.set(epoch, bytes);
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
    const { epoch, fd, writing } = this.#staged;
    this.#staged = undefined;
    rmSync(this.#path(epoch, 'part'), { force: true });
    // Another file could get the number of a closed one while something is still being written to it.
    if (writing.size === 0) closeSync(fd);
    else void Promise.allSettled(writing).then(() => closeSync(fd));
  }

  /** The image holds this epoch: its file has served. */
  forget(epoch: Epoch): void {
    const path = this.#path(epoch, 'committed');
    const bytes = this.#committed.get(epoch);
    this.#committed.delete(epoch);
    // On a disk a host that lost power may still know the file by the name it had, with what was written over it since.
    const reusable = bytes !== undefined && this.#durability === 'memory' && existsSync(path);
    const fits = this.#spares.length < MAX_SPARES && this.#spareBytes + (bytes ?? 0) <= MAX_SPARE_BYTES;
    if (!reusable || !fits) {
      rmSync(path, { force: true });
      return;
    }
    const spare = this.#path(epoch, 'spare');
    renameSync(path, spare);
    this.#spares.push({ path: spare, bytes });
    this.#spareBytes += bytes;
  }

  /** After a restart: partial epochs are removed, committed ones listed in order. */
  recover(): Epoch[] {
    const committed: Epoch[] = [];
    this.#spares = [];
    this.#spareBytes = 0;
    for (const file of readdirSync(this.#dir)) {
      if (STAGED.test(file) || SPARE.test(file)) rmSync(join(this.#dir, file));
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

  #open(epoch: Epoch): number {
    const path = this.#path(epoch, 'part');
    const spare = this.#spares.pop();
    if (spare === undefined) return openSync(path, 'w', 0o600);
    this.#spareBytes -= spare.bytes;
    renameSync(spare.path, path);
    return openSync(path, 'r+');
  }

  #path(epoch: Epoch, suffix: 'part' | 'committed' | 'spare'): string {
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
