/** What this process and the guest hold of what leaks without a trace: descriptors, mappings, threads, memory, event channels. */

import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;

/** A mapping of this size is a guest's memory or a copy of it. */
const GUEST_KIB = 100 * 1024;

export interface Held {
  descriptors: number;
  /** Of /proc/self/maps; `foreign` ones are guests' memory, `hypercall` ones buffers that Xen reads and writes. */
  mappings: number;
  foreign: number;
  hypercall: number;
  threads: number;
  /** Resident after all garbage was collected, but for mappings of a guest's size: the shadow copy grows with what the guest writes. */
  rssMiB: number;
  /** Ports that are open, as Xen lists them. */
  guestPorts: number;
  dom0Ports: number;
}

export async function heldNow(domid: number): Promise<Held> {
  const maps = readFileSync('/proc/self/maps', 'utf8').trim().split('\n');
  const status = readFileSync('/proc/self/status', 'utf8');
  const field = (name: string): number => Number(status.match(new RegExp(`^${name}:\\s+(\\d+)`, 'm'))?.[1]);
  return {
    descriptors: readdirSync('/proc/self/fd').length,
    mappings: maps.length,
    foreign: maps.filter((line) => line.includes('/xen/privcmd')).length,
    hypercall: maps.filter((line) => line.includes('/xen/hypercall')).length,
    threads: field('Threads'),
    rssMiB: residentMiB(),
    guestPorts: await portsOf(domid),
    dom0Ports: await portsOf(0),
  };
}

function residentMiB(): number {
  collectGarbage();
  const sizes = readFileSync('/proc/self/smaps', 'utf8').matchAll(/^Size:\s+(\d+) kB.*?^Rss:\s+(\d+) kB/gms);
  let residentKiB = 0;
  for (const [, size, resident] of sizes) if (Number(size) < GUEST_KIB) residentKiB += Number(resident);
  return Math.round(residentKiB / 1024);
}

async function portsOf(domid: number): Promise<number> {
  const { stdout } = await promisify(execFile)('/usr/lib/xen-4.17/bin/lsevtchn', [String(domid)]);
  return stdout.trim().split('\n').length;
}
