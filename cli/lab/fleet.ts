/** Two agents as processes with many guests between them, and a witness: for what happens to a whole host. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RomulusError } from '../../shared/errors.ts';
import type { VmStatus } from '../../shared/status.ts';
import { AgentProcess } from './agent-process.ts';
import type { LabWitness } from './witness.ts';

const TMPFS = '/dev/shm';
const POLL_MS = 100;

export interface FleetOptions {
  vms: readonly string[];
  /** What both configs say of each VM, besides its serial log. */
  vm: Record<string, unknown>;
  witness: LabWitness;
  /** Further keys of both agents' configs. */
  agent?: Record<string, unknown>;
}

export class Fleet {
  readonly alpha: AgentProcess;
  readonly beta: AgentProcess;
  readonly vms: readonly string[];
  readonly #dirs: readonly string[];

  private constructor(alpha: AgentProcess, beta: AgentProcess, vms: readonly string[], dirs: string[]) {
    this.alpha = alpha;
    this.beta = beta;
    this.vms = vms;
    this.#dirs = dirs;
  }

  /** Lays both hosts out; nothing runs yet. */
  static async create({ vms, vm, witness, agent }: FleetOptions): Promise<Fleet> {
    // Short paths: unix sockets end at 107 bytes.
    const dir = mkdtempSync(join(tmpdir(), 'rom-'));
    const imageRoot = mkdtempSync(join(TMPFS, 'rom-'));
    const alpha = await AgentProcess.create('alpha', join(dir, 'a'), join(imageRoot, 'a'));
    const beta = await AgentProcess.create('beta', join(dir, 'b'), join(imageRoot, 'b'));
    const fleet = new Fleet(alpha, beta, vms, [dir, imageRoot]);
    const settings = { witness: { socket: witness.socketPath }, ...agent };
    for (const [self, peer] of [
      [alpha, beta],
      [beta, alpha],
    ] as const) {
      const described = vms.map((name) => [name, { ...vm, serialLog: fleet.serialLog(self, name) }]);
      self.configure(peer, Object.fromEntries(described), settings);
    }
    return fleet;
  }

  serialLog(agent: AgentProcess, vm: string): string {
    return join(agent.folders.dir, `${vm}.log`);
  }

  async start(): Promise<void> {
    await Promise.all([this.alpha.start(), this.beta.start()]);
  }

  /** Protects every VM from alpha to beta; resolves once all are PROTECTED. */
  async protect(timeoutMs: number): Promise<void> {
    for (const vm of this.vms) await this.alpha.client.protect({ vm, to: this.beta.name });
    await this.untilAll(this.alpha, ({ state }) => state === 'PROTECTED', timeoutMs);
  }

  /** Resolves when the status of every VM on that host fits; throws with those that do not. */
  async untilAll(
    agent: AgentProcess,
    fits: (status: VmStatus) => boolean,
    timeoutMs: number,
  ): Promise<VmStatus[]> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const { vms } = await agent.client.status();
      const misfits = vms.filter((status) => !fits(status));
      if (vms.length === this.vms.length && misfits.length === 0) return vms;
      if (performance.now() > deadline) {
        const said = misfits.map(({ vm, state, reason }) => `${vm} ${state}${reason ? ` (${reason})` : ''}`);
        throw new RomulusError(
          'DEGRADED',
          `${agent.name} has ${vms.length} of ${this.vms.length} VMs, not as they should be: ${said.join('; ')}`,
        );
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  /** Ends everything this fleet started and removes its folders. */
  async close(): Promise<void> {
    await Promise.all([this.alpha.clear(), this.beta.clear()]);
    for (const dir of this.#dirs) rmSync(dir, { recursive: true, force: true });
  }
}
