/**
 * The state of a booted host, kept in the cache: booting Xen and dom0 takes the emulator a minute, going on from there a moment.
 * Memory is a file that later hosts map for themselves; no guest runs yet, so no nested state is in it.
 */

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { QmpClient } from '../../../shared/hypervisor/qmp.ts';
import { emulatorArguments, type Machine, monitorOf, portOf } from './emulator.ts';

export const EMULATOR = 'qemu-system-x86_64';
const BOOT_LIMIT_MS = 600_000;
const QMP_LIMIT_MS = 60_000;
const POLL_MS = 50;

/** Where build.sh puts what hosts boot from, and the booted state lies. */
export function testbedCache(): string {
  return join(process.env.ROMULUS_CACHE ?? join(homedir(), '.cache/romulus'), 'xen');
}

const bootedDir = (): string => join(testbedCache(), 'booted');
const partsOf = (dir: string) => ({
  disk: join(dir, 'dom0.img'),
  memory: join(dir, 'memory'),
  devices: join(dir, 'devices'),
  stamp: join(dir, 'stamp'),
});

type Origin = Pick<Machine, 'cache' | 'disk' | 'keepsWrites' | 'memory' | 'goesOn'>;

/** A host that goes on from the booted state, but for its own directories and wire. */
export function bootedMachine(): Origin {
  const { disk, memory } = partsOf(bootedDir());
  const ofItsOwn = { file: memory, shared: false };
  return { cache: testbedCache(), disk, keepsWrites: false, memory: ofItsOwn, goesOn: true };
}

/** A host that boots from the start. */
export function freshMachine(): Origin {
  const cache = testbedCache();
  return { cache, disk: join(cache, 'dom0.img'), keepsWrites: false, goesOn: false };
}

let keeping: Promise<void> | undefined;
/** Boots a host and keeps its state, unless that was done for this image and this emulator. Throws when it does not boot. */
export function keepBooted(): Promise<void> {
  keeping ??= bootAndKeep();
  return keeping;
}

async function bootAndKeep(): Promise<void> {
  const stamp = stampOfBoot();
  const { stamp: known } = partsOf(bootedDir());
  if (existsSync(known) && readFileSync(known, 'utf8') === stamp) return;
  const dir = mkdtempSync(join(testbedCache(), 'booting-'));
  const parts = partsOf(dir);
  const runDir = join(dir, 'run');
  mkdirSync(runDir);
  spawnSync('cp', ['--sparse=always', join(testbedCache(), 'dom0.img'), parts.disk]);
  const memory = { file: parts.memory, shared: true };
  const kept = { ...freshMachine(), disk: parts.disk, keepsWrites: true, memory };
  const args = emulatorArguments({ ...kept, runDir, sharedDir: runDir });
  const emulator = spawn(EMULATOR, args, { stdio: ['ignore', 2, 2] });
  try {
    (await untilAnnounced(runDir, BOOT_LIMIT_MS)).destroy();
    const monitor = await ignoringMemory(runDir);
    await monitor.execute('migrate', { uri: `exec:cat > ${parts.devices}` });
    await untilMigrated(monitor);
    const ended = once(emulator, 'exit');
    await monitor.execute('quit');
    await ended;
    spawnSync('fallocate', ['--dig-holes', parts.memory]);
    writeFileSync(parts.stamp, stamp);
    rmSync(bootedDir(), { recursive: true, force: true });
    rmSync(runDir, { recursive: true });
    renameSync(dir, bootedDir());
  } finally {
    emulator.kill('SIGKILL');
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Lets an emulator that waits go on from the booted state. */
export async function goOn(runDir: string): Promise<void> {
  const monitor = await ignoringMemory(runDir);
  await monitor.execute(
    'migrate-incoming',
    { uri: `exec:cat ${partsOf(bootedDir()).devices}` },
    QMP_LIMIT_MS,
  );
  await untilMigrated(monitor);
  await monitor.execute('cont');
  monitor.close();
}

/** The port over which dom0 announces itself and is answered. */
export async function connectPort(runDir: string): Promise<Socket> {
  for (const deadline = Date.now() + QMP_LIMIT_MS; !existsSync(portOf(runDir)); await delay(POLL_MS))
    if (Date.now() > deadline) throw new Error(`the emulator made no ${portOf(runDir)}`);
  const port = connect(portOf(runDir));
  await once(port, 'connect');
  return port;
}

/** The same, once dom0 has announced itself. */
export async function untilAnnounced(runDir: string, limitMs: number): Promise<Socket> {
  const port = await connectPort(runDir);
  await once(port, 'data', { signal: AbortSignal.timeout(limitMs) });
  return port;
}

/** What is saved and loaded is the devices alone: the memory is in its file. */
async function ignoringMemory(runDir: string): Promise<QmpClient> {
  const monitor = await QmpClient.connect(monitorOf(runDir), { timeoutMs: QMP_LIMIT_MS });
  const capabilities = [{ capability: 'x-ignore-shared', state: true }];
  await monitor.execute('migrate-set-capabilities', { capabilities });
  return monitor;
}

async function untilMigrated(monitor: QmpClient): Promise<void> {
  const deadline = Date.now() + QMP_LIMIT_MS;
  for (; Date.now() < deadline; await delay(POLL_MS)) {
    const found = await monitor.execute<{ status?: string; 'error-desc'?: string }>('query-migrate');
    if (found.status === 'completed') return;
    if (found.status === 'failed')
      throw new Error(`saving or loading the booted state: ${found['error-desc']}`);
  }
  throw new Error(`saving or loading the booted state took more than ${QMP_LIMIT_MS} ms`);
}

/** Differs whenever what was booted, or what would go on from it, does. */
function stampOfBoot(): string {
  const version = spawnSync(EMULATOR, ['--version'], { encoding: 'utf8' }).stdout;
  const places = { cache: '', disk: '', keepsWrites: false, memory: { file: '', shared: false } };
  const args = emulatorArguments({ ...places, runDir: '', sharedDir: '', goesOn: true });
  return [readFileSync(join(testbedCache(), 'stamp'), 'utf8'), version, ...args].join('\n');
}
