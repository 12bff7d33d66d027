/** Target for QEMU guests: a standby QEMU that waits on the standby image and needs only the device state to run. */

import { readFileSync } from 'node:fs';
import { rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { RomulusError } from '../../shared/errors.ts';
import { hostArch, type QemuFiles, qemuArgs, qemuFiles } from '../../shared/hypervisor/qemu-args.ts';
import {
  findQemu,
  isAlive,
  killQemu,
  logTail,
  type QemuProcess,
  recordedArgs,
  startQemu,
} from '../../shared/hypervisor/qemu-process.ts';
import { installedVersion, sameSeries } from '../../shared/hypervisor/qemu-version.ts';
import { QmpClient } from '../../shared/hypervisor/qmp.ts';
import type { Geometry, VmSpec } from '../../shared/vm.ts';
import type { StandbyFiles, Target } from './target.ts';

/** Loading 32 KiB of state takes some 5 ms; beyond this the standby is not coming up. */
const START_TIMEOUT_MS = 10_000;

interface Standby {
  process: QemuProcess;
  /** Given up once the guest runs: the monitor's next user is the Source that protects the promoted guest. */
  qmp: QmpClient | undefined;
  files: QemuFiles;
}

export class QemuTarget implements Target {
  readonly kind = 'qemu';
  readonly #preloadPath: string;
  #standby: Standby | undefined;

  /** The preload library makes the promoted guest protectable in its turn. */
  constructor(options: { preloadPath: string }) {
    this.#preloadPath = options.preloadPath;
  }

  /** Process id of QEMU, valid after prepare(). */
  get pid(): number {
    return this.#need().process.pid;
  }

  async check(spec: VmSpec, geometry: Geometry): Promise<void> {
    if (geometry.arch !== hostArch()) {
      throw unsupported(
        `the guest is ${geometry.arch}, this host ${hostArch()}`,
        'choose a backup of the same architecture',
      );
    }
    const version = await installedVersion();
    if (!sameSeries(version, geometry.hypervisor)) {
      const hint = `both hosts need the same QEMU series and accelerator (${geometry.hypervisor}); ROMULUS_ACCEL=tcg does without KVM`;
      throw unsupported(`the primary runs ${geometry.hypervisor}, this host has ${version}`, hint);
    }
    if (geometry.ramBytes !== spec.memoryBytes) {
      const hint = `set the guest's memory to ${geometry.ramBytes} bytes in its description`;
      throw unsupported(`guest memory is ${geometry.ramBytes} bytes, described as ${spec.memoryBytes}`, hint);
    }
    for (const path of [spec.kernel, spec.initrd]) {
      if (path === undefined || (await stat(path).catch(() => undefined))) continue;
      throw unsupported(`${path} is not on this host`, `copy ${path} from the primary`);
    }
  }

  async takeUp(_spec: VmSpec, { runDir }: StandbyFiles): Promise<'gone' | 'waiting' | 'running'> {
    const files = qemuFiles(runDir);
    const found = await findQemu(files.record);
    if (found === undefined) return 'gone';
    // Asked through the keeper's socket: the main monitor of a guest that runs belongs to the Source that protects it.
    const keeperQmp = await QmpClient.connect(files.keeperQmp);
    const waiting = (await runState(keeperQmp)) === 'inmigrate';
    keeperQmp.close();
    this.#standby = { process: found, qmp: undefined, files };
    if (!waiting) return 'running';
    this.#standby.qmp = await QmpClient.connect(files.qmp);
    await listenForState(this.#standby.qmp, files);
    return 'waiting';
  }

  async prepare(spec: VmSpec, standby: StandbyFiles): Promise<void> {
    const files = qemuFiles(standby.runDir);
    const role = { files, imagePath: standby.imagePath };
    const found = await this.takeUp(spec, standby);
    if (found !== 'gone') {
      const unchanged = (await recordedArgs(files.record)) === JSON.stringify(qemuArgs(spec, role));
      if (found === 'waiting' && unchanged) return;
      await this.stop(); // of another description, or a stale guest of a time when this host was its primary
    }
    await rm(files.fenced, { force: true });
    const { process, qmp } = await startQemu(spec, role, this.#preloadPath);
    this.#standby = { process, qmp, files };
    await listenForState(qmp, files);
  }

  async start(statePath: string): Promise<void> {
    const standby = this.#need();
    const { qmp, files } = standby;
    if (qmp === undefined) return this.#requireRunning();
    const state = readFileSync(statePath); // on the way to a running guest, 32 KiB at once beat four trips to a thread
    const settled = qmp.waitFor(
      ({ event, data }) => event === 'RESUME' || isFailure(event, data),
      START_TIMEOUT_MS,
    );
    settled.catch(() => undefined);
    try {
      await send(files.incoming, state);
      if ((await settled).event !== 'RESUME') throw new Error('the device state was refused');
    } catch (cause) {
      throw new RomulusError('HV_START', `the standby did not start: ${await logTail(files.log)}`, {
        cause,
        hint: `read ${files.log}; both hosts need the same QEMU and the same description of the guest`,
      });
    }
    qmp.close();
    standby.qmp = undefined;
  }

  async release(): Promise<void> {
    this.#standby?.qmp?.close();
    this.#standby = undefined;
  }

  async stop(): Promise<void> {
    const standby = this.#standby;
    this.#standby = undefined;
    if (standby === undefined) return;
    standby.qmp?.close();
    await killQemu(standby.process);
    await rm(standby.files.record, { force: true });
  }

  async alive(): Promise<boolean> {
    return this.#standby !== undefined && (await isAlive(this.#standby.process));
  }

  /** For a guest taken up after its promotion: there is nothing to do but to say if it died since. */
  async #requireRunning(): Promise<void> {
    if (await this.alive()) return;
    throw new RomulusError('HV_GUEST_GONE', 'the promoted guest has ended', {
      hint: `read ${this.#need().files.log}`,
    });
  }

  #need(): Standby {
    if (this.#standby === undefined) throw new RomulusError('INTERNAL', 'the standby is not prepared');
    return this.#standby;
  }
}

async function runState(qmp: QmpClient): Promise<string> {
  return (await qmp.execute<{ status: string }>('query-status')).status;
}

/** Done in advance, so that start() has only the state to send. A predecessor may have come this far, or not. */
async function listenForState(qmp: QmpClient, files: QemuFiles): Promise<void> {
  if (await stat(files.incoming).catch(() => undefined)) return;
  await qmp.execute('migrate-set-capabilities', { capabilities: [{ capability: 'events', state: true }] });
  await qmp.execute('migrate-incoming', { uri: `unix:${files.incoming}` });
}

function isFailure(event: string, data: Record<string, unknown>): boolean {
  return event === 'MIGRATION' && data.status === 'failed';
}

/** By socket rather than `exec:cat`: no shell, no quoting, and no process to start on the way to a running guest. */
function send(path: string, state: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once('error', reject);
    socket.end(state, resolve);
  });
}

function unsupported(message: string, hint: string): RomulusError {
  return new RomulusError('HV_UNSUPPORTED', message, { hint });
}
