/** A guest's disk on this host, in either role: opened once, served to the hypervisor for as long as the agent lives. */

import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { type Disk, engine } from '../../native/index.ts';
import { RomulusError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { KernelDisk } from './kernel-disk.ts';

/** An extent of the dirty map settles at its second rest after a write; one more for a write under way at the first. */
const RESTS_AFTER_WRITE = 3;
/** The dirty map's settled parts are let go this often; a power cut costs a resynchronisation of what was written since. */
const REST_INTERVAL_MS = 10_000;

export interface HostDiskOptions {
  vm: string;
  /** Image file or block device. */
  path: string;
  /** File of the dirty map, on storage that survives a power cut. */
  mapPath: string;
  /** Unix socket at which the hypervisor finds its disk. */
  socketPath: string;
  /** Makes a sparse image of this size unless there is one. */
  createBytes?: number;
  /** The hypervisor finds it at kernelDiskPath() rather than at the socket. */
  blockDevice?: boolean;
  log: Logger;
}

export class HostDisk {
  readonly path: string;
  readonly disk: Disk;
  readonly #rest: NodeJS.Timeout;
  readonly #device: KernelDisk | undefined;
  #writtenBytes = 0;
  #touched = false;
  #restsLeft = 0;
  #onPressure: () => void = () => {};

  /** Opens and serves it, shut for writing. DISK_UNUSABLE when that cannot be. */
  constructor({ vm, path, mapPath, socketPath, createBytes, blockDevice, log }: HostDiskOptions) {
    this.path = path;
    try {
      for (const folder of [dirname(mapPath), dirname(socketPath)])
        mkdirSync(folder, { recursive: true, mode: 0o700 });
      this.disk = engine().openDisk({
        path,
        mapPath,
        ...(createBytes !== undefined && { createBytes }),
        onPressure: () => this.#onPressure(),
      });
    } catch (cause) {
      throw unusable(path, cause);
    }
    try {
      this.disk.serve(socketPath, vm);
      if (blockDevice)
        this.#device = new KernelDisk({
          vm,
          socketPath,
          connections: () => this.disk.counts().connections,
          onFailed: (err) => log.error({ vm, err, path }, 'the kernel cannot be given its disk again'),
        });
    } catch (cause) {
      this.disk.end();
      throw unusable(path, cause);
    }
    const rest = () => {
      if (this.#changedSinceRest()) this.#restsLeft = RESTS_AFTER_WRITE;
      if (this.#restsLeft === 0) return;
      this.#restsLeft -= 1;
      this.disk.rest().catch((err) => log.error({ vm, err, path }, 'the disk image cannot be made durable'));
    };
    this.#rest = setInterval(rest, REST_INTERVAL_MS).unref();
  }

  /** A standby's disk was written by an epoch rather than by the guest. */
  touch(): void {
    this.#touched = true;
  }

  /** Calls back when the running epoch has changed half of what one may. */
  onPressure(listener: () => void): void {
    this.#onPressure = listener;
  }

  /** Whether the guest of this host may write; it goes on with its block device from the first time on. */
  setWritable(writable: boolean): void {
    this.disk.setWritable(writable);
    if (writable) this.#device?.connect();
    else this.#device?.release();
  }

  /** At the agent's end: a guest that runs goes on when the next agent serves it. */
  close(): void {
    this.#device?.release();
    clearInterval(this.#rest);
    this.disk.end();
  }

  /** As close(), for a disk that no guest of this host uses any more. */
  remove(): void {
    this.#device?.remove();
    this.close();
  }

  #changedSinceRest(): boolean {
    const { writtenBytes } = this.disk.counts();
    const changed = this.#touched || writtenBytes !== this.#writtenBytes;
    this.#writtenBytes = writtenBytes;
    this.#touched = false;
    return changed;
  }
}

function unusable(path: string, cause: unknown): RomulusError {
  if (cause instanceof RomulusError) return cause;
  const { code, message } = cause as NodeJS.ErrnoException;
  return new RomulusError('DISK_UNUSABLE', `cannot serve the disk ${path}: ${message}`, {
    hint: hintFor(code, path),
    cause,
  });
}

function hintFor(code: string | undefined, path: string): string {
  switch (code) {
    case 'ENOENT':
      return `make the image: truncate -s 8G ${path}`;
    case 'EBUSY':
      return `another process has it open: fuser ${path}`;
    case 'ENOSPC':
      return 'free space there: df -h';
    default:
      return `see whether the agent may read and write it: ls -l ${path}`;
  }
}
