/** kill -9 of real agents while a job is active: the next run takes the job up again, and nothing is done twice. */

import { appendFileSync } from 'node:fs';
import { Queue } from 'bullmq';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import type { AgentProcess } from '../../cli/lab/agent-process.ts';
import { Lab, VM } from '../../cli/lab/lab.ts';
import { LabWitness } from '../../cli/lab/witness.ts';
import { type JobView, queueOf } from '../../shared/control/queue.ts';
import { ticksOn } from './kills.ts';

let redis: LabWitness;
let lab: Lab;

beforeAll(async () => {
  redis = await LabWitness.start();
  lab = await Lab.create({ memoryMiB: 128, epochMs: 25, workload: { structureMiB: 16 } });
  for (const { folders } of [lab.primary, lab.backup])
    appendFileSync(folders.config, stringify({ queue: { socket: redis.socketPath } }));
  await lab.start();
}, 180_000);

afterAll(async () => {
  await lab?.close();
  await redis?.stop();
});

/** Asks; the agent may die before it answers, so the job is looked for on the queue itself. */
async function ask(
  agent: AgentProcess,
  order: Parameters<AgentProcess['client']['ask']>[0],
): Promise<string> {
  await agent.client.ask(order).catch(() => undefined);
  const queue = new Queue(queueOf(agent.name), { connection: { path: redis.socketPath } });
  try {
    const [job] = await queue.getJobs(['active', 'waiting', 'delayed', 'prioritized', 'completed', 'failed']);
    return job?.id ?? '';
  } finally {
    await queue.close();
  }
}

async function through(agent: AgentProcess, id: string): Promise<JobView> {
  for (;;) {
    const view = await agent.client.job({ node: agent.name, id });
    if (view.state === 'completed' || view.state === 'failed') return view;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

describe('a job to protect', () => {
  it('whose agent is killed during the first copy ends PROTECTED, under the same protection', async () => {
    const { primary, backup } = lab;
    const syncing = lab.watch(primary, ({ kind, state }) => kind === 'state' && state === 'SYNCING');
    const id = await ask(primary, { kind: 'protect', vm: VM, to: backup.name });
    await syncing;
    await primary.end('SIGKILL');
    await primary.start();
    expect(await through(primary, id)).toMatchObject({
      kind: 'protect',
      state: 'completed',
      result: { vm: VM, state: 'PROTECTED', peer: backup.name },
    });
    expect((await primary.client.status()).vms).toHaveLength(1);
  });
});

describe('a job to fail over', () => {
  it('whose agent is killed after it became primary is found done: one term, and the guest goes on', async () => {
    const { primary, backup } = lab;
    const before = (await backup.client.vm(VM)).term;
    await backup.end('SIGKILL');
    await backup.start({ ROMULUS_CRASH_AT: 'backup.promoted:1' });
    await lab.untilProtected(primary);
    const lost = lab.watch(
      backup,
      ({ kind }) => kind === 'lost',
      async () => {
        await primary.pullPlug();
        return false;
      },
    );
    await lost;
    const id = await ask(backup, { kind: 'failover', vm: VM });
    await backup.ended();
    await backup.start();
    expect(await through(backup, id)).toMatchObject({
      state: 'completed',
      result: { vm: VM, term: before + 1, takenUpAgain: true },
    });
    expect(await backup.client.vm(VM)).toMatchObject({ guest: 'running', term: before + 1 });
    expect(await ticksOn(lab.serialLog('b'))).toBe(true);
  });
});
