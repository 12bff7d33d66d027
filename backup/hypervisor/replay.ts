/** Target for a recorded guest: no process runs, a file beside the image says how far it got. */

import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RomulusError } from '../../shared/errors.ts';
import { replayedEpochs } from '../../shared/hypervisor/trace-state.ts';
import type { Geometry, VmSpec } from '../../shared/vm.ts';
import type { StandbyFiles, Target } from './target.ts';

/** In the run folder: 'standby' once prepared, the epoch it went on from once started. */
export const REPLAY_FILE = 'replay';
const STANDBY = 'standby';

export class ReplayTarget implements Target {
  readonly kind = 'replay';
  #path: string | undefined;

  async check(spec: VmSpec, geometry: Geometry): Promise<void> {
    if (geometry.hypervisor !== 'replay 1') throw unsupported(`it was recorded for ${geometry.hypervisor}`);
    if (geometry.arch !== 'x86_64') throw unsupported(`its architecture is ${geometry.arch}`);
    if (geometry.ramBytes !== spec.memoryBytes) {
      throw unsupported(`it has ${geometry.ramBytes} bytes of memory, ${spec.memoryBytes} are described`);
    }
  }

  async prepare(_spec: VmSpec, files: StandbyFiles): Promise<void> {
    this.#path = join(files.runDir, REPLAY_FILE);
    // What was let run here belongs to an earlier term: it ends by becoming a standby again.
    await writeFile(this.#path, STANDBY, { mode: 0o600 });
  }

  async start(statePath: string): Promise<void> {
    if (this.#path === undefined) throw new RomulusError('INTERNAL', 'the standby was not prepared');
    if ((await this.#found()) === 'running') return;
    const epochs = replayedEpochs(await readFile(statePath));
    if (epochs === undefined) {
      throw new RomulusError('HV_START', `${statePath} is not the state of a replayed guest`, {
        hint: 'it comes from another hypervisor or was damaged: protect the VM anew',
      });
    }
    await writeFile(this.#path, String(epochs), { mode: 0o600 });
  }

  async takeUp(_spec: VmSpec, files: StandbyFiles): Promise<'gone' | 'waiting' | 'running'> {
    this.#path = join(files.runDir, REPLAY_FILE);
    return this.#found();
  }

  async stop(): Promise<void> {
    if (this.#path !== undefined) await rm(this.#path, { force: true });
  }

  async alive(): Promise<boolean> {
    return (await this.#found()) !== 'gone';
  }

  async #found(): Promise<'gone' | 'waiting' | 'running'> {
    if (this.#path === undefined) return 'gone';
    const content = await readFile(this.#path, 'utf8').catch(() => undefined);
    if (content === undefined) return 'gone';
    return content === STANDBY ? 'waiting' : 'running';
  }
}

function unsupported(why: string): RomulusError {
  return new RomulusError('HV_UNSUPPORTED', `this host cannot replay the guest: ${why}`, {
    hint: 'name the same trace and memory in both descriptions of the guest',
  });
}
