/** Builds the demo guest, once: Debian's cloud kernel beside an initramfs of busybox and `heartbeat`. */

import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { RomulusError } from '../shared/errors.ts';
import { cacheDir } from './cache.ts';
import { disk } from './disk.ts';
import type { GuestFeature } from './feature.ts';
import { addProgram } from './lay-out.ts';
import { load } from './load.ts';
import { database } from './postgres.ts';
import { services } from './services.ts';

const run = promisify(execFile);
const sourceDir = fileURLToPath(new URL('.', import.meta.url)).replace('/dist/guest/', '/guest/');
const KERNEL_PACKAGE = 'linux-image-cloud-amd64';
/** Tells QEMU of a panic, by way of its pvpanic device; in the order in which they load. */
const MODULES = ['pvpanic.ko', 'pvpanic-mmio.ko'];
const KEPT_MODULES = [
  ...new Set([...MODULES, ...[services, disk, database, load].flatMap((feature) => feature.modules)]),
];
const MAX_COMMAND_OUTPUT_BYTES = 256 * 1024 * 1024;

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
}

/** Paths of the built guest. Builds what the cache lacks; needs gcc, busybox-static, cpio and, the first time, apt's archive. */
export async function buildGuest(workload: GuestWorkload = {}, network?: GuestServices): Promise<Guest> {
  const kernelVersion = createHash('sha256').update(KEPT_MODULES.join()).digest('hex').slice(0, 8);
  const kernelDir = await once('linux', `${KERNEL_PACKAGE}-${kernelVersion}`, downloadKernel);
  const features: GuestFeature[] = [
    ...(network ? [services] : []),
    ...(workload.diskOperationsPerSecond !== undefined ? [disk] : []),
    ...(workload.database ? [database] : []),
    ...(workload.load ? [load] : []),
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
    await layOut(dir, root);
    for (const feature of features) await feature.add(root, sourceDir, command);
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

/** Makes `name-version` in the cache unless it is there; rename makes it whole at once, whoever else builds meanwhile. */
async function once(name: string, version: string, make: (dir: string) => Promise<string>): Promise<string> {
  const path = join(cacheDir(), `${name}-${version}`);
  if (await stat(path).catch(() => undefined)) return path;
  await mkdir(cacheDir(), { recursive: true });
  const dir = await mkdtemp(join(cacheDir(), `.${name}-`));
  try {
    await rename(await make(dir), path);
  } catch (error) {
    if (!(await stat(path).catch(() => undefined))) throw error; // somebody else was faster
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
  return path;
}

/** Takes the kernel out of Debian's package without installing it, so that no root is needed. */
async function downloadKernel(dir: string): Promise<string> {
  await chmod(dir, 0o755); // apt downloads as user _apt, where it can
  const dependencies = await command('apt-cache', ['depends', KERNEL_PACKAGE], dir);
  const image = /Depends: (linux-image-\S+)/.exec(dependencies)?.[1];
  if (image === undefined) {
    throw new RomulusError('PREREQUISITE', `apt does not know ${KERNEL_PACKAGE}`, { hint: 'apt-get update' });
  }
  await command('apt-get', ['download', '-qq', image], dir);
  const archive = (await readdir(dir)).find((file) => file.endsWith('.deb'));
  await command('dpkg-deb', ['-x', archive ?? '', 'root'], dir);
  const boot = join(dir, 'root', 'boot');
  const kernel = (await readdir(boot)).find((file) => file.startsWith('vmlinuz-'));
  if (kernel === undefined) throw new RomulusError('INTERNAL', `${archive} holds no kernel`);
  const kept = join(dir, 'kept');
  await mkdir(kept);
  await rename(join(boot, kernel), join(kept, 'vmlinuz'));
  for (const file of await readdir(join(dir, 'root'), { recursive: true, withFileTypes: true })) {
    if (KEPT_MODULES.includes(file.name)) await rename(join(file.path, file.name), join(kept, file.name));
  }
  return kept;
}

/** What every demo guest has: busybox, the workload, and the first process. */
async function layOut(dir: string, root: string): Promise<void> {
  for (const name of ['bin', 'dev', 'lib', 'proc', 'sys']) await mkdir(join(root, name), { recursive: true });
  const busybox = await firstExisting(['/bin/busybox', '/usr/bin/busybox']);
  await copyFile(busybox, join(root, 'bin', 'busybox'));
  for (const applet of ['sh', 'mount', 'sed', 'insmod', 'grep', 'poweroff', 'dd', 'sync']) {
    await command('ln', ['-s', 'busybox', join(root, 'bin', applet)], dir);
  }
  await addProgram(root, sourceDir, 'heartbeat', command);
  await copyFile(join(sourceDir, 'init'), join(root, 'init'));
  await chmod(join(root, 'init'), 0o755);
}

async function pack(dir: string, root: string): Promise<string> {
  const names = (await command('find', ['.', '-print0'], root)).split('\0').filter(Boolean).sort();
  await writeFile(join(dir, 'names'), names.join('\n'));
  await command(
    'sh',
    ['-c', 'cpio --quiet --owner 0:0 -o -H newc < ../names | gzip -n -1 > ../initrd'],
    root,
  );
  return join(dir, 'initrd');
}

async function firstExisting(paths: string[]): Promise<string> {
  for (const path of paths) if (await stat(path).catch(() => undefined)) return path;
  throw new RomulusError('PREREQUISITE', 'busybox is not installed', {
    hint: 'apt-get install busybox-static',
  });
}

const PACKAGE_OF: Record<string, string> = {
  gcc: 'gcc libc6-dev',
  cpio: 'cpio',
  'apt-get': 'apt',
  'dpkg-deb': 'dpkg',
  ldd: 'libc-bin redis-server',
};

async function command(file: string, args: string[], cwd: string): Promise<string> {
  try {
    return (await run(file, args, { cwd, maxBuffer: MAX_COMMAND_OUTPUT_BYTES })).stdout;
  } catch (cause) {
    const { code, stderr } = cause as { code?: string | number; stderr?: string };
    const missing = code === 'ENOENT' ? `${file} is not installed` : `${file} failed: ${stderr?.trim()}`;
    throw new RomulusError('PREREQUISITE', `cannot build the demo guest: ${missing}`, {
      hint: `apt-get update && apt-get install ${PACKAGE_OF[file] ?? 'busybox-static cpio'}`,
      cause,
    });
  }
}
