/** Finds the guest RAM of a running QEMU: the shared mapping, the file behind it, and whether its dirty log is on. */

import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { RomulusError } from '../../shared/errors.ts';
import { RAM_ID, sharedMemoryArguments } from '../../shared/hypervisor/qemu-args.ts';
import type { QmpClient } from '../../shared/hypervisor/qmp.ts';

const REGISTRATION_POLL_MS = 5;

export interface GuestRam {
  /** Opens to the same memory in any process: /proc/PID/fd/N of a memfd, or the backing file. */
  path: string;
  /** Where QEMU has it mapped. */
  address: bigint;
  sizeBytes: number;
}

interface Mapping {
  address: bigint;
  sizeBytes: number;
  path: string;
  inode: number;
  /** Two-letter flags of /proc/PID/smaps; "uw" is userfaultfd write protection. */
  flags: string[];
}

/** The one backend of guest RAM. HV_NOT_SHARED unless it is shared memory another process can map. */
export async function findGuestRam(qmp: QmpClient, pid: number): Promise<GuestRam> {
  const backends = await qmp.execute<{ id?: string; size: number; share: boolean }[]>('query-memdev');
  const summary = await qmp.execute<{ 'base-memory': number }>('query-memory-size-summary');
  const hint = `start QEMU with: ${sharedMemoryArguments(summary['base-memory'])}`;
  const [backend] = backends;
  if (backend === undefined || backends.length > 1) {
    throw new RomulusError('HV_NOT_SHARED', `guest memory is in ${backends.length} backends, one is needed`, {
      hint,
    });
  }
  if (!backend.share) {
    throw new RomulusError('HV_NOT_SHARED', `guest memory ${backend.id ?? RAM_ID} is private to QEMU`, {
      hint,
    });
  }
  const mapping = (await sharedMappings(pid)).find(({ sizeBytes }) => sizeBytes === backend.size);
  if (mapping === undefined) {
    throw new RomulusError('HV_NOT_SHARED', `QEMU ${pid} maps no shared memory of ${backend.size} bytes`, {
      hint,
    });
  }
  return { path: await openablePath(pid, mapping), address: mapping.address, sizeBytes: mapping.sizeBytes };
}

/** Waits, at most `timeoutMs`, for the preload library's registration. Returns undefined when it is on, else why not. */
export async function dirtyLogFailure(
  pid: number,
  ram: GuestRam,
  statusPath: string | undefined,
  timeoutMs: number,
): Promise<string | undefined> {
  const deadline = performance.now() + timeoutMs;
  do {
    const mapping = (await sharedMappings(pid)).find(({ address }) => address === ram.address);
    if (mapping?.flags.includes('uw')) return undefined;
    const status = statusPath === undefined ? '' : await readFile(statusPath, 'utf8').catch(() => '');
    if (status.startsWith('failed')) return `dirty log: ${status.slice('failed '.length).trim()}`;
    await delay(REGISTRATION_POLL_MS);
  } while (performance.now() < deadline);
  return 'dirty log: QEMU runs without the preload library';
}

/** Shared, writable mappings, from /proc/PID/smaps. */
async function sharedMappings(pid: number): Promise<Mapping[]> {
  const smaps = await readFile(`/proc/${pid}/smaps`, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new RomulusError('HV_GUEST_GONE', `cannot read the mappings of QEMU ${pid}: ${cause.message}`, {
      cause,
      hint: cause.code === 'EACCES' ? 'run the agent as root, or as the user QEMU runs as' : 'romulus status',
    });
  });
  const mappings: Mapping[] = [];
  let current: Mapping | undefined;
  for (const line of smaps.split('\n')) {
    const head = /^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ (\d+) *(.*)$/.exec(line);
    if (head !== null) {
      const [, start = '', end = '', access, inode, path = ''] = head;
      const address = BigInt(`0x${start}`);
      const sizeBytes = Number(BigInt(`0x${end}`) - address);
      current = access === 'rw-s' ? { address, sizeBytes, path, inode: Number(inode), flags: [] } : undefined;
      if (current) mappings.push(current);
    } else if (current && line.startsWith('VmFlags:')) current.flags = line.slice(8).trim().split(' ');
  }
  return mappings;
}

/** A path that opens the mapping's file: by QEMU's own descriptor, which also reaches a memfd or an unlinked file. */
async function openablePath(pid: number, mapping: Mapping): Promise<string> {
  for (const fd of await readdir(`/proc/${pid}/fd`)) {
    const path = `/proc/${pid}/fd/${fd}`;
    const name = await readlink(path).catch(() => '');
    if (name === mapping.path && (await stat(path)).ino === mapping.inode) return path;
  }
  return mapping.path;
}
