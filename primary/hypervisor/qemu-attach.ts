/** Brings an agent together with a running QEMU: started now, started by a predecessor, or by somebody else. */

import { mkdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { RomulusError } from '../../shared/errors.ts';
import { type QemuFiles, qemuFiles } from '../../shared/hypervisor/qemu-args.ts';
import {
  findQemu,
  identifyProcess,
  type QemuProcess,
  startQemu,
} from '../../shared/hypervisor/qemu-process.ts';
import { QmpClient } from '../../shared/hypervisor/qmp.ts';
import type { VmSpec } from '../../shared/vm.ts';
import { QemuKeeper } from './qemu-keeper.ts';
import { environmentOf, socketOwner } from './qemu-owner.ts';

const KEEPER_TIMEOUT_MS = 1500;

export interface QemuPlace {
  /** Directory of the agent's run files; each guest has its own folder in it. */
  runDir: string;
  /** The built preload library (native/preload). */
  preloadPath: string;
}

export interface AttachedQemu {
  process: QemuProcess;
  qmp: QmpClient;
  files: QemuFiles;
  /** Undefined for a QEMU that runs without the keeper. */
  keeper: QemuKeeper | undefined;
  /** True when this QEMU was started with a preload library, whose registration is worth waiting for. */
  preloaded: boolean;
  /** Status file of the dirty log, if this QEMU has one. */
  dirtyLog: string | undefined;
  /** True when the guest was fenced before, and so must stay paused. */
  fenced: boolean;
}

export async function attachQemu(spec: VmSpec, place: QemuPlace, mayStart: boolean): Promise<AttachedQemu> {
  const files = qemuFiles(join(place.runDir, spec.name));
  await mkdir(files.dir, { recursive: true, mode: 0o700 });
  const fenced = (await stat(files.fenced).catch(() => undefined)) !== undefined;
  return spec.attachQmp === undefined
    ? attachOwn(spec, place.preloadPath, files, fenced, mayStart)
    : attachForeign(spec.attachQmp, files, fenced);
}

/** The keeper's socket comes first: holding it makes this agent the only one that touches the guest. */
async function attachOwn(
  spec: VmSpec,
  preloadPath: string,
  files: QemuFiles,
  fenced: boolean,
  mayStart: boolean,
): Promise<AttachedQemu> {
  const keeper = await QemuKeeper.listen(files.keeper);
  try {
    const found = await findQemu(files.record);
    if (found === undefined && fenced) {
      throw new RomulusError('HV_START', `${spec.name} was fenced on this host: it may run elsewhere`, {
        hint: `romulus status on the other host; only if no copy runs there: rm ${files.fenced}`,
      });
    }
    if (found === undefined && !mayStart) {
      throw new RomulusError('HV_GUEST_GONE', `${spec.name} does not run on this host any more`, {
        hint: `romulus status on its backup; only if no copy runs there: romulus unprotect ${spec.name}, then protect it again`,
      });
    }
    const { process, qmp } = found
      ? { process: found, qmp: await QmpClient.connect(files.qmp) }
      : await startQemu(spec, { files }, preloadPath);
    if (!fenced && !(await keeper.arrived(KEEPER_TIMEOUT_MS))) {
      qmp.close();
      throw new RomulusError('HV_START', `QEMU ${process.pid} runs without the keeper of ${preloadPath}`, {
        hint: `rebuild it (node native/preload/build.mjs) and start the guest anew; see ${files.log}`,
      });
    }
    return { process, qmp, files, keeper, preloaded: true, dirtyLog: files.dirtyLog, fenced };
  } catch (error) {
    await keeper.close();
    throw error;
  }
}

async function attachForeign(qmpPath: string, files: QemuFiles, fenced: boolean): Promise<AttachedQemu> {
  const pid = await socketOwner(qmpPath);
  const process = await identifyProcess(pid);
  if (process === undefined) throw new RomulusError('HV_GUEST_GONE', `QEMU ${pid} has just ended`);
  const keeperPath = await environmentOf(pid, 'ROMULUS_KEEPER');
  const keeper = keeperPath === undefined ? undefined : await QemuKeeper.listen(keeperPath);
  try {
    const dirtyLog = await environmentOf(pid, 'ROMULUS_DIRTYLOG_STATUS');
    const qmp = await QmpClient.connect(qmpPath);
    if (!fenced) await keeper?.arrived(KEEPER_TIMEOUT_MS);
    const preloaded = (await environmentOf(pid, 'LD_PRELOAD')) !== undefined;
    return { process, qmp, files, keeper, preloaded, dirtyLog, fenced };
  } catch (error) {
    await keeper?.close();
    throw error;
  }
}
