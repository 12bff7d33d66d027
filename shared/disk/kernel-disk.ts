/** A served disk as a block device of this host, for hypervisors whose back ends are in its kernel: Xen's blkback. */

import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { dirname } from 'node:path';
import { engine } from '../../native/index.ts';
import { RomulusError } from '../errors.ts';
import {
  connectNbd,
  disconnectNbd,
  errorOf,
  GENERIC_NETLINK,
  getNbdFamily,
  parseConnected,
  parseNbdFamily,
  reconnectNbd,
} from './nbd-netlink.ts';

/** While the agent is away requests wait, for a week, as those of a QEMU guest do. */
const DEAD_CONNECTION_TIMEOUT_S = 7 * 24 * 3600;
const WATCH_INTERVAL_MS = 1000;

/** Where both hosts find the disk of a guest, whatever the kernel calls the device: `disk=["phy:…,xvda,w"]` in xl's configuration. */
export function kernelDiskPath(vm: string): string {
  return `/dev/romulus/${vm}/disk`;
}

export interface KernelDiskOptions {
  vm: string;
  /** Of the server. */
  socketPath: string;
  /** How many connections the server has: without any, the kernel's client is given another, while the guest may write. */
  connections: () => number;
  /** That failed; it is tried again, and what the guest asks for waits. */
  onFailed: (error: unknown) => void;
}

export class KernelDisk {
  readonly #vm: string;
  readonly #socketPath: string;
  readonly #family: number;
  readonly #index: number;
  readonly #connections: () => number;
  readonly #onFailed: (error: unknown) => void;
  #watch: NodeJS.Timeout | undefined;
  #failed = false;

  /**
   * Connects the kernel's client to the server at the socket. A device of an earlier agent gets its new connection from
   * connect() alone: what a guest has asked for meanwhile comes at once, and writes must be allowed by then.
   * DISK_UNUSABLE when the kernel cannot.
   */
  constructor({ vm, socketPath, connections, onFailed }: KernelDiskOptions) {
    this.#connections = connections;
    this.#onFailed = onFailed;
    this.#vm = vm;
    this.#socketPath = socketPath;
    this.#family = nbdFamily();
    this.#index = deviceOf(backendOf(vm)) ?? this.#make();
    linkTo(kernelDiskPath(vm), `/dev/nbd${this.#index}`);
  }

  /** The guest of this host may write: from now on there is always a connection. */
  connect(): void {
    this.#look();
    this.#watch ??= setInterval(() => this.#look(), WATCH_INTERVAL_MS).unref();
  }

  /** Lets go at the agent's end: the device stays, and what is asked of it waits for the next agent. */
  release(): void {
    clearInterval(this.#watch);
    this.#watch = undefined;
  }

  /** No guest uses it any more. */
  remove(): void {
    this.release();
    rmSync(kernelDiskPath(this.#vm), { force: true });
    try {
      tell(disconnectNbd(this.#family, this.#index));
    } catch {
      // somebody has disconnected it by hand
    }
  }

  #look(): void {
    if (this.#connections() > 0) return;
    try {
      this.#reconnect();
      this.#failed = false;
    } catch (thrown) {
      if (!this.#failed) this.#onFailed(thrown); // said once
      this.#failed = true;
    }
  }

  #make(): number {
    const { fd, sizeBytes, flags } = engine().connectNbd(this.#socketPath, this.#vm);
    try {
      const answer = tell(
        connectNbd(this.#family, {
          fd,
          sizeBytes,
          flags,
          backend: backendOf(this.#vm),
          deadConnectionTimeoutS: DEAD_CONNECTION_TIMEOUT_S,
        }),
      );
      return parseConnected(answer);
    } finally {
      closeSync(fd);
    }
  }

  #reconnect(): void {
    const { fd } = engine().connectNbd(this.#socketPath, this.#vm);
    try {
      tell(reconnectNbd(this.#family, this.#index, { fd, backend: backendOf(this.#vm) }));
    } finally {
      closeSync(fd);
    }
  }
}

function backendOf(vm: string): string {
  return `romulus ${vm}`;
}

/** Number of the device whose connections bear that name; undefined if there is none. */
function deviceOf(backend: string): number | undefined {
  for (const name of readdirSync('/sys/block')) {
    if (!name.startsWith('nbd')) continue;
    try {
      if (readFileSync(`/sys/block/${name}/backend`, 'utf8').trim() === backend) return Number(name.slice(3));
    } catch {
      // not connected, or by a client that gave no name
    }
  }
  return undefined;
}

function nbdFamily(): number {
  try {
    execFileSync('modprobe', ['nbd'], { stdio: ['ignore', 'ignore', 'pipe'] });
  } catch {
    // built in, or not there: which the kernel says itself
  }
  return parseNbdFamily(tell(getNbdFamily()));
}

function tell(request: Buffer): Buffer {
  const answer = engine().netlinkRequest(request, undefined, GENERIC_NETLINK);
  const error = errorOf(answer);
  if (error === 0) return answer;
  throw new RomulusError('DISK_UNUSABLE', `the kernel's NBD client refuses: errno ${error}`, {
    hint: 'modprobe nbd; romulus doctor',
  });
}

/** Replaced in one step: whoever opens it finds the old device or the new. */
function linkTo(path: string, device: string): void {
  mkdirSync(dirname(path), { recursive: true });
  rmSync(`${path}.new`, { force: true });
  symlinkSync(device, `${path}.new`);
  renameSync(`${path}.new`, path);
}
