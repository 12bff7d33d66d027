/** A host is drained by a job on a real queue: every guest goes on on the other host, is protected there, and lost nothing. */

import { readFileSync, statSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Fleet } from '../../cli/lab/fleet.ts';
import { heartbeatsIn } from '../../cli/lab/serial.ts';
import { LabWitness } from '../../cli/lab/witness.ts';
import { buildGuest } from '../../guest/build.ts';
import type { JobView } from '../../shared/control/queue.ts';
import { ticksOn } from './kills.ts';

const VMS = ['db', 'mail', 'web'];
/** Guests boot, are copied and move, emulated, on two loaded cores. */
const TIMEOUT_MS = 120_000;
const POLL_MS = 100;

let redis: LabWitness;
let fleet: Fleet;

beforeAll(async () => {
  redis = await LabWitness.start();
  const guest = await buildGuest({ structureMiB: 8, pagesPerStep: 8, stepsPerSecond: 20 });
  fleet = await Fleet.create({
    vms: VMS,
    vm: { memory: '96MiB', epoch: '100ms', ...guest },
    witness: redis,
    agent: { queue: { socket: redis.socketPath }, silence: '2s' },
  });
  await fleet.start();
  await fleet.protect(TIMEOUT_MS);
  await Promise.all(VMS.map((vm) => ticksOn(fleet.serialLog(fleet.alpha, vm))));
}, 2 * TIMEOUT_MS);

afterAll(async () => {
  await fleet?.close();
  await redis?.stop();
});

async function through(asked: JobView): Promise<JobView> {
  const agent = asked.node === 'alpha' ? fleet.alpha : fleet.beta;
  for (;;) {
    const view = await agent.client.job(asked);
    if (view.state === 'completed' || view.state === 'failed') return view;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** A host on which a guest never ran has no log of it. */
function sizeOf(log: string): number {
  return statSync(log, { throwIfNoEntry: false })?.size ?? 0;
}

describe('draining a host', { timeout: 2 * TIMEOUT_MS }, () => {
  it.each([
    ['alpha', 'beta'],
    ['beta', 'alpha'],
  ] as const)('%s moves every guest to %s, where it goes on where it was', async (from, to) => {
    const [source, target] = [fleet[from], fleet[to]];
    const logs = (vm: string) => [fleet.serialLog(source, vm), fleet.serialLog(target, vm)];
    const marks = new Map(VMS.map((vm) => [vm, logs(vm).map(sizeOf)] as const));
    const view = await through(await target.client.ask({ kind: 'drainHost', node: from }));
    expect(view).toMatchObject({
      state: 'completed',
      percent: 100,
      vms: VMS.map((vm) => ({ vm, ok: true })),
    });
    await fleet.untilAll(target, ({ state }) => state === 'PROTECTED', TIMEOUT_MS);
    await fleet.untilAll(source, ({ state }) => state === 'STANDBY', TIMEOUT_MS);
    for (const vm of VMS) {
      expect(await ticksOn(fleet.serialLog(target, vm)), vm).toBe(true);
      // A handed-over guest stood still until it ran here: it says nothing twice and leaves nothing out, be it half a line.
      const said = logs(vm).map((log, i) => readFileSync(log).subarray(marks.get(vm)?.[i]));
      const { ticks, faults } = heartbeatsIn(Buffer.concat(said).toString());
      const [first = 0] = ticks;
      expect(ticks, vm).toEqual(ticks.map((_, i) => first + i));
      expect(faults, vm).toEqual([]);
    }
  });
});
