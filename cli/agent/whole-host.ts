/** Orders about a whole host: which VMs they concern, and their outcome as people read it. */

import { setTimeout as delay } from 'node:timers/promises';
import type { HostOrder, JobView, VmOrder, VmOutcome } from '../../shared/control/queue.ts';
import { asRomulusError, RomulusError } from '../../shared/errors.ts';
import { type Begun, carryOut, type OrderHost, runsHere } from './orders.ts';

/** An order that is under way is looked at this often. */
export const STEP_INTERVAL_MS = 250;

/** One order a VM. Draining concerns every VM that runs here, so that one that cannot move is named and not passed over. */
export function partsOf(host: OrderHost, order: HostOrder): VmOrder[] {
  if (order.kind === 'failoverHost') {
    const { node, fencedBy, acceptDataLoss } = order;
    const how = { ...(fencedBy !== undefined && { fencedBy }), ...(acceptDataLoss && { acceptDataLoss }) };
    return host
      .statuses()
      .filter(
        ({ role, peer, state }) =>
          role === 'backup' && peer === node && state !== 'ACTIVE' && state !== 'ENDED',
      )
      .map(({ vm, term }) => ({ kind: 'failover', vm, term, ...how }));
  }
  if (order.node !== host.node) {
    throw new RomulusError('PEER_UNKNOWN', `this is ${host.node}; only ${order.node} itself can drain it`, {
      hint: `on ${order.node}: romulus drain`,
    });
  }
  return host
    .statuses()
    .filter(runsHere)
    .map(({ vm, term }) => ({ kind: 'switchover', vm, term }));
}

/** Without a queue: all parts at once, at most `concurrency` of them, and the answer when all are through. */
export async function carryOutDirectly(
  host: OrderHost,
  order: HostOrder,
  concurrency: number,
): Promise<JobView> {
  const waiting = partsOf(host, order);
  const vmCount = waiting.length;
  const vms: VmOutcome[] = [];
  const worker = async () => {
    for (let part = waiting.shift(); part !== undefined; part = waiting.shift())
      vms.push(await outcome(host, part));
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, vmCount) }, worker));
  vms.sort((a, b) => a.vm.localeCompare(b.vm));
  return { node: host.node, kind: order.kind, state: 'completed', percent: 100, vms, vmCount };
}

async function outcome(host: OrderHost, part: VmOrder): Promise<VmOutcome> {
  const { vm } = part;
  try {
    const here = { hereSinceMs: performance.now() };
    for (let begun: Begun = 'not'; ; begun = here) {
      const step = await carryOut(host, part, begun);
      if ('result' in step) return { vm, ok: true };
      await delay(STEP_INTERVAL_MS);
    }
  } catch (thrown) {
    return { vm, ok: false, error: asRomulusError(thrown).toJSON() };
  }
}
