/** Debian's stock kernel with this host's files, emulated: for what the kernel of the machine may not have. */

import { execFile } from 'node:child_process';
import { chmod, copyFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { layOutBusybox, pack } from '../../guest/initramfs.ts';
import { debianKernel } from '../../guest/kernel.ts';

const run = promisify(execFile);
const PACKAGE = 'linux-image-amd64';
const here = fileURLToPath(new URL('.', import.meta.url));
/** What brings the host's files, then what is tried; in the order in which they load. */
const MODULES = [
  ...['virtio_ring', 'virtio', 'virtio_pci_modern_dev', 'virtio_pci_legacy_dev', 'virtio_pci'],
  ...['netfs', 'fscache', '9pnet', '9pnet_virtio', '9p', 'overlay'],
  ...['mbcache', 'crc16', 'crc32c_generic', 'jbd2', 'ext4'],
  ...['sch_plug', 'sch_ingress', 'cls_matchall', 'act_mirred', 'ifb', 'tun', 'nbd', 'watchdog', 'softdog'],
].map((name) => `${name}.ko`);
/** Short, so that a reset is soon seen. */
const PARAMETERS: Record<string, string> = { 'softdog.ko': 'soft_margin=3' };
const APPLETS = ['sh', 'mount', 'insmod', 'mkdir', 'cp', 'chroot', 'poweroff'];
const MEMORY = '1536M';
/** Of a machine with other work, emulation included. */
const TIMEOUT_MS = 540_000;
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

/**
 * Runs a line of shell as root on that kernel, in folder `cwd`; the host's files are there, and none of them changes.
 * `exit` is undefined when the machine was reset.
 */
export async function runOnStockKernel(
  line: string,
  cwd: string,
): Promise<{ exit: number | undefined; output: string }> {
  const kernel = await debianKernel(PACKAGE, MODULES);
  const dir = await mkdtemp(join(tmpdir(), 'romulus-kernel-'));
  try {
    const args = [
      ...['-machine', 'q35', '-accel', 'tcg,thread=multi', '-cpu', 'max', '-m', MEMORY, '-smp', '2'],
      ...['-nodefaults', '-display', 'none', '-no-reboot', '-serial', 'stdio'],
      ...['-kernel', join(kernel, 'vmlinuz'), '-initrd', await initramfs(dir, kernel, line, cwd)],
      ...['-append', 'console=ttyS0 quiet panic=-1 random.trust_cpu=on'],
      ...['-virtfs', 'local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap'],
    ];
    const options = { timeout: TIMEOUT_MS, maxBuffer: MAX_OUTPUT_BYTES };
    const { stdout } = await run('qemu-system-x86_64', args, options);
    const exit = /kernel-run: exit (\d+)\s*$/m.exec(stdout)?.[1];
    return { exit: exit === undefined ? undefined : Number(exit), output: stdout };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function initramfs(dir: string, kernel: string, line: string, cwd: string): Promise<string> {
  const root = join(dir, 'root');
  await layOutBusybox(root, APPLETS);
  for (const module of MODULES) await copyFile(join(kernel, module), join(root, 'lib', module));
  const order = MODULES.map((module) => `${module} ${PARAMETERS[module] ?? ''}\n`);
  await writeFile(join(root, 'lib', 'order'), order.join(''));
  await writeFile(join(root, 'lib', 'command'), commandOf(line, cwd));
  await copyFile(join(here, 'init'), join(root, 'init'));
  await chmod(join(root, 'init'), 0o755);
  await mkdir(join(root, 'host'));
  return pack(dir, root);
}

function commandOf(line: string, cwd: string): string {
  return `export PATH='${process.env.PATH}' HOME=/root TMPDIR=/run NO_COLOR=1\nip link set lo up\ncd '${cwd}' && ${line}\n`;
}
