/** A small demo guest under QEMU, in a directory of its own, cleaned up whatever happens. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { buildGuest } from '../../guest/build.ts';
import { preloadPath as builtPreload } from '../../native/preload.ts';
import { QemuSource } from '../../primary/hypervisor/qemu.ts';
import { preloadEnv, qemuArgs, qemuBinary, qemuFiles } from '../../shared/hypervisor/qemu-args.ts';
import { findQemu, killQemu } from '../../shared/hypervisor/qemu-process.ts';
import { QmpClient } from '../../shared/hypervisor/qmp.ts';
import type { VmSpec } from '../../shared/vm.ts';

export interface QemuGuest {
  /** In tmpfs, and short enough for unix sockets. */
  dir: string;
  spec: VmSpec;
  serialLog: string;
  preloadPath: string;
  /** A Source for this guest; each call is a new one, as a new agent would make it. */
  open(): QemuSource;
  /** Kills what still runs and removes the directory. */
  dispose(): Promise<void>;
}

/** A guest that the first attach() boots. */
export async function makeQemuGuest(overrides: Partial<VmSpec> = {}): Promise<QemuGuest> {
  const preloadPath = builtPreload();
  const built = await buildGuest({ structureMiB: 16 });
  const dir = await mkdtemp('/dev/shm/romulus-test-');
  const serialLog = join(dir, 'serial.log');
  const spec: VmSpec = {
    name: 'guest',
    hypervisor: 'qemu',
    memoryBytes: 128 * 2 ** 20,
    cpus: 1,
    serialLog,
    ...built,
    ...overrides,
  };
  const dispose = async () => {
    const qemu = await findQemu(qemuFiles(join(dir, spec.name)).record);
    if (qemu) await killQemu(qemu);
    await rm(dir, { recursive: true, force: true });
  };
  return {
    dir,
    spec,
    serialLog,
    preloadPath,
    open: () => new QemuSource(spec, { runDir: dir, preloadPath }),
    dispose,
  };
}

/** A guest in a QEMU that is not the agent's: its own directory, its own arguments, with or without the preload library. */
export async function makeForeignGuest(options: { preload: boolean; share?: boolean }): Promise<QemuGuest> {
  const guest = await makeQemuGuest();
  const role = { files: qemuFiles(join(guest.dir, 'foreign')) };
  await mkdir(role.files.dir);
  const args = qemuArgs(guest.spec, role).map((arg) =>
    options.share === false ? arg.replace('share=on', 'share=off') : arg,
  );
  const env = options.preload ? preloadEnv(guest.preloadPath, role) : {};
  const child = spawn(qemuBinary(), args, { stdio: 'ignore', env: { ...process.env, ...env } });
  await once(child, 'spawn');
  (await QmpClient.connect(role.files.qmp)).close();
  const spec = { ...guest.spec, attachQmp: role.files.qmp };
  const dispose = async () => {
    const exited = once(child, 'exit');
    if (child.kill('SIGKILL')) await exited;
    await guest.dispose();
  };
  const { dir, preloadPath } = guest;
  return { ...guest, spec, open: () => new QemuSource(spec, { runDir: dir, preloadPath }), dispose };
}
