/** Two hosts and a witness in networks of their own, with a real guest: what scenarios of the failure list are played on. */

import { setTimeout as delay } from 'node:timers/promises';
import type { AgentProcess } from '../../cli/lab/agent-process.ts';
import { type HostName, Lab, VM, WITNESS_PORT } from '../../cli/lab/lab.ts';
import { Links } from '../../cli/lab/links.ts';
import { readHeartbeats } from '../../cli/lab/serial.ts';
import { LabWitness } from '../../cli/lab/witness.ts';
import type { GuestWorkload } from '../../guest/build.ts';
import type { VmStatus } from '../../shared/status.ts';

/** Half a second of silence is no death where all cores are busy with other tests. */
export const SILENCE_MS = 2000;
const SAMPLE_MS = 20;
const ROLES_TIMEOUT_MS = 30_000;
/** Agents, a guest and its copies, emulated, on loaded cores. */
const SETTLE_TIMEOUT_MS = 120_000;

export class Stage {
  readonly links: Links<HostName>;
  readonly witness: LabWitness;
  readonly lab: Lab;
  readonly silenceMs: number;
  /** Moments at which both sides served; must stay 0. */
  twoActive = 0;
  samples = 0;
  #watching = true;
  #watch: Promise<void> = Promise.resolve();

  private constructor(links: Links<HostName>, witness: LabWitness, lab: Lab, silenceMs: number) {
    this.links = links;
    this.witness = witness;
    this.lab = lab;
    this.silenceMs = silenceMs;
  }

  static async open({
    silenceMs = SILENCE_MS,
    epochMs = 25,
    workload = { structureMiB: 16 } as GuestWorkload,
  } = {}): Promise<Stage> {
    const links = new Links<HostName>(['alpha', 'beta', 'w']);
    const witness = await LabWitness.start({
      launcher: links.launcher('w'),
      tcp: { host: '0.0.0.0', port: WITNESS_PORT },
    });
    const lab = await Lab.create({
      memoryMiB: 128,
      epochMs,
      workload,
      witness,
      links,
      agent: { silence: `${silenceMs}ms` },
    });
    const stage = new Stage(links, witness, lab, silenceMs);
    await lab.start();
    await lab.protect();
    stage.#watch = stage.#sample();
    return stage;
  }

  async close(): Promise<void> {
    this.#watching = false;
    await this.#watch;
    for (const agent of this.agents) if (agent.running) process.kill(agent.pid, 'SIGCONT');
    await this.lab.close();
    await this.witness.stop();
    this.links.remove();
  }

  get agents(): [AgentProcess, AgentProcess] {
    return [this.lab.primary, this.lab.backup];
  }

  /** The host that runs the guest by right, and the other one; undefined while there is none. */
  async serving(): Promise<{ on: AgentProcess; other: AgentProcess } | undefined> {
    const [alpha, beta] = this.agents;
    if (serves(await statusOf(alpha))) return { on: alpha, other: beta };
    return serves(await statusOf(beta)) ? { on: beta, other: alpha } : undefined;
  }

  /** The same, once there is one: on loaded cores a primary may give its backup up for a moment. */
  async roles(): Promise<{ on: AgentProcess; other: AgentProcess }> {
    const deadline = performance.now() + ROLES_TIMEOUT_MS;
    for (;;) {
      const found = await this.serving();
      if (found !== undefined) return found;
      if (performance.now() > deadline)
        throw new Error(`no host serves: ${JSON.stringify(await Promise.all(this.agents.map(statusOf)))}`);
      await delay(SAMPLE_MS);
    }
  }

  /** Resolves when the status of one host fits. */
  async until(
    agent: AgentProcess,
    fits: (status: VmStatus | undefined) => boolean,
  ): Promise<VmStatus | undefined> {
    const deadline = performance.now() + SETTLE_TIMEOUT_MS;
    for (;;) {
      const status = await statusOf(agent);
      if (fits(status)) return status;
      if (performance.now() > deadline)
        throw new Error(`${agent.name} did not get there: ${JSON.stringify(status)}`);
      await delay(SAMPLE_MS);
    }
  }

  untilServes(agent: AgentProcess): Promise<unknown> {
    return this.until(agent, serves);
  }

  untilAuthority(agent: AgentProcess, ...phases: string[]): Promise<unknown> {
    return this.until(
      agent,
      (status) => status?.authority !== undefined && phases.includes(status.authority),
    );
  }

  /** The two have settled by the register which of them goes on: the first alone, or the other. */
  async untilSettled(on: AgentProcess, other: AgentProcess): Promise<void> {
    const alone = (status: VmStatus | undefined) => status?.authority === 'SOLO';
    await this.until(
      on,
      (status) => alone(status) || status?.role === 'backup' || status?.state === 'FENCED',
    );
    if (!alone(await statusOf(on))) await this.untilServes(other);
  }

  /** Everything is mended, and the VM is PROTECTED again by itself; resolves with the host it runs on. */
  async recovered(): Promise<AgentProcess> {
    this.links.heal();
    for (const agent of this.agents) {
      if (agent.running) process.kill(agent.pid, 'SIGCONT');
      else await agent.start();
    }
    const deadline = performance.now() + SETTLE_TIMEOUT_MS;
    for (;;) {
      for (const agent of this.agents) if ((await statusOf(agent))?.state === 'PROTECTED') return agent;
      if (performance.now() > deadline) {
        const found = await Promise.all(this.agents.map(statusOf));
        throw new Error(`the VM is not protected again: ${JSON.stringify(found)}`);
      }
      await delay(SAMPLE_MS);
    }
  }

  /** Faults the guest found in its own memory, on either host, so far. */
  faults(): string[] {
    return (['a', 'b'] as const).flatMap((side) => readHeartbeats(this.lab.serialLog(side)).faults);
  }

  /** Reads one side, the other, and the first again: only what serves on both ends of that served all the while. */
  async #sample(): Promise<void> {
    const [alpha, beta] = this.agents;
    while (this.#watching) {
      this.samples += 1;
      if (serves(await statusOf(alpha)) && serves(await statusOf(beta)) && serves(await statusOf(alpha)))
        this.twoActive += 1;
      await delay(SAMPLE_MS);
    }
  }
}

/** undefined for a host that is down, stopped, or knows nothing of the VM. */
export async function statusOf(agent: AgentProcess): Promise<VmStatus | undefined> {
  if (!agent.running) return undefined;
  const answer = agent.client.vm(VM).catch(() => undefined);
  return Promise.race([answer, delay(500, undefined)]);
}

/** Output of the guest leaves there, as far as its agent knows. */
export function serves(status: VmStatus | undefined): boolean {
  if (status === undefined || status.guest === 'paused') return false;
  if (status.state === 'ACTIVE') return true;
  const phases = ['SOLO', 'JOINING', 'PROTECTED'];
  return status.role === 'primary' && phases.includes(status.authority ?? '');
}
