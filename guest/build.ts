/** Builds the demo guest, once: Debian's cloud kernel beside an initramfs of busybox and `heartbeat`. */

import { createHash } from 'node:crypto';
import { chmod, copyFile, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { once } from './cache.ts';
import { disk } from './disk.ts';
import type { GuestFeature } from './feature.ts';
import { layOutBusybox, pack } from './initramfs.ts';
import { debianKernel } from './kernel.ts';
import { addProgram } from './lay-out.ts';
import { load } from './load.ts';
import { database } from './postgres.ts';
import { services } from './services.ts';
import { type SteadyLoad, steady } from './steady.ts';

const sourceDir = fileURLToPath(new URL('.', import.meta.url)).replace('/dist/guest/', '/guest/');
const KERNEL_PACKAGE = 'linux-image-cloud-amd64';
/** Tells QEMU of a panic, by way of its pvpanic device; in the order in which they load. */
const MODULES = ['pvpanic.ko', 'pvpanic-mmio.ko'];
const KEPT_MODULES = [
  ...new Set([...MODULES, ...[services, disk, database, load].flatMap((feature) => feature.modules)]),
];

/** What a guest with a network serves its clients: Redis without persistence, and byte-exact transfers (transfer.c). */
export interface GuestServices {
  /** Address with prefix length, "10.77.0.2/24". */
  address: string;
}

export interface Guest {
  kernel: string;
  initrd: string;
  /** Kernel command line: quiet, on the serial line, a panic ends in a reboot. */
  append: string;
}

/** How hard the workload works; the defaults dirty about 200 pages in 25 ms. */
export interface GuestWorkload {
  structureMiB?: number;
  pagesPerStep?: number;
  stepsPerSecond?: number;
  /** Operations on the disk; the guest then has one to work on. */
  diskOperationsPerSecond?: number;
  /** PostgreSQL, from a disk that is a copy of buildPostgresDisk()'s. */
  database?: boolean;
  /** fio, run from outside. */
  load?: boolean;
  /** What the guest does besides, as fast as it can; says "load ready" on the serial line. 'postgres' takes `database`. */
  steady?: SteadyLoad;
}

/** Paths of the built guest. Builds what the cache lacks; needs gcc, busybox-static, cpio and, the first time, apt's archive. */
export async function buildGuest(workload: GuestWorkload = {}, network?: GuestServices): Promise<Guest> {
  const kernelDir = await debianKernel(KERNEL_PACKAGE, KEPT_MODULES);
  const features: GuestFeature[] = [
    ...(network ? [services] : []),
    ...(workload.diskOperationsPerSecond !== undefined ? [disk] : []),
    ...(workload.database ? [database] : []),
    ...(workload.load ? [load] : []),
    ...(workload.steady ? [steady(workload.steady)] : []),
  ];
  const modules = [...new Set([...MODULES, ...features.flatMap((feature) => feature.modules)])];
  const inputs = [
    ...['heartbeat.c', 'init'].map((name) => join(sourceDir, name)),
    ...features.flatMap((feature) => feature.sources).map((name) => join(sourceDir, name)),
    ...modules.map((name) => join(kernelDir, name)),
  ];
  const contents = await Promise.all(inputs.map((path) => readFile(path)));
  const fingerprint = createHash('sha256').update(Buffer.concat(contents)).digest('hex').slice(0, 16);
  const initrd = await once('initrd', fingerprint, async (dir) => {
    const root = join(dir, 'root');
    await layOut(root);
    for (const feature of features) await feature.add(root, sourceDir);
    for (const module of modules) await copyFile(join(kernelDir, module), join(root, 'lib', module));
    return pack(dir, root);
  });
  const append = appendLine(workload) + (network ? ` services.address=${network.address}` : '');
  return { kernel: join(kernelDir, 'vmlinuz'), initrd, append };
}

/** The kernel command line alone. */
export function appendLine({
  structureMiB = 64,
  pagesPerStep = 32,
  stepsPerSecond = 250,
  diskOperationsPerSecond,
}: GuestWorkload = {}): string {
  const heartbeat = `heartbeat.mib=${structureMiB} heartbeat.pages=${pagesPerStep} heartbeat.hz=${stepsPerSecond}`;
  const workload =
    diskOperationsPerSecond === undefined ? heartbeat : `${heartbeat} disk.hz=${diskOperationsPerSecond}`;
  return `console=ttyS0 quiet panic=-1 random.trust_cpu=on ${workload}`;
}

/** What every demo guest has: busybox, the workload, and the first process. */
async function layOut(root: string): Promise<void> {
  await layOutBusybox(root, ['sh', 'mount', 'sed', 'insmod', 'grep', 'poweroff', 'dd', 'sync']);
  await addProgram(root, sourceDir, 'heartbeat');
  await copyFile(join(sourceDir, 'init'), join(root, 'init'));
  await chmod(join(root, 'init'), 0o755);
}
