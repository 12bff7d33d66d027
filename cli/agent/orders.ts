/** Carries out what an operator ordered for one VM: jobs end in the same calls of the host as command and API do. */

import type { VmOrder } from '../../shared/control/queue.ts';
import { RomulusError } from '../../shared/errors.ts';
import type { FailoverRequest, FailoverResult, ProtectRequest, VmStatus } from '../../shared/status.ts';

/** How long a protection that was asked for may be DEGRADED before the order has failed; the host goes on trying. */
const DEGRADED_PATIENCE_MS = 120_000;

/** What orders need of a host. Each call refuses by itself what is not safe; nothing is decided here. */
export interface OrderHost {
  readonly node: string;
  statuses(): VmStatus[];
  /** Throws VM_UNKNOWN. */
  status(vm: string): VmStatus;
  protect(request: ProtectRequest): Promise<VmStatus>;
  unprotect(vm: string): Promise<VmStatus>;
  failover(request: FailoverRequest): Promise<FailoverResult>;
  switchover?(vm: string, term: number): Promise<VmStatus>;
  confirm?(vm: string, term: number): Promise<VmStatus>;
}

/** Through, with what the API would answer; or under way, to be looked at again. */
export type Step = { result: VmStatus | FailoverResult | Record<string, unknown> } | { percent: number };

/** Whether a step of the same order came before: of this run of the agent, or of one that was killed since. */
export type Begun = 'not' | 'earlier' | { hereSinceMs: number };

/** A backup that has not taken a VM over by then is not going to. */
const HAND_OVER_TIMEOUT_MS = 20_000;

/**
 * One step of an order. What an earlier step did, be it of a run that was killed, is found and not done again. Throws TERM_STALE for an order of another term, and what the host
 * refuses it with.
 */
export async function carryOut(host: OrderHost, order: VmOrder, begun: Begun): Promise<Step> {
  const found = begun === 'not' ? undefined : outcomeOf(host, order, begun);
  if (found !== undefined) return found;
  requireTerm(host, order);
  const { vm, term } = order;
  switch (order.kind) {
    case 'protect':
      await host.protect({ vm, to: order.to });
      return outcomeOf(host, order, 'earlier') ?? { percent: 0 };
    case 'unprotect':
      return { result: await host.unprotect(vm) };
    case 'failover': {
      const { fencedBy, acceptDataLoss } = order;
      const request = {
        vm,
        term,
        force: fencedBy !== undefined,
        ...(fencedBy !== undefined && { fencedBy }),
        ...(acceptDataLoss && { acceptDataLoss }),
      };
      return { result: await host.failover(request) };
    }
    case 'switchover':
      if (host.switchover === undefined) throw cannot(host, 'hand a running VM over');
      await host.switchover(vm, term);
      return { percent: 50 };
    case 'confirm':
      if (host.confirm === undefined) throw cannot(host, 'confirm an owner');
      return { result: await host.confirm(vm, term) };
  }
}

/** What has become of an order that was begun; undefined when nothing shows that it was, so that it is to be done. */
function outcomeOf(host: OrderHost, order: VmOrder, begun: Begun): Step | undefined {
  const { vm, term, kind } = order;
  const status = statusOf(host, vm);
  if (kind === 'unprotect') {
    const over = status === undefined || status.state === 'ENDED';
    return over ? { result: status ?? { vm, state: 'ENDED' } } : undefined;
  }
  if (status === undefined) return undefined;
  switch (kind) {
    case 'protect':
      return status.role === 'primary' && status.peer === order.to ? progressOfProtect(status) : undefined;
    case 'failover': {
      if (status.state === 'PROMOTING') return { percent: 50 };
      const { epoch, term: now } = status;
      return now > term && runsHere(status)
        ? { result: { vm, epoch, term: now, takenUpAgain: true } }
        : undefined;
    }
    case 'switchover':
      return progressOfSwitchover(status, term, begun);
    case 'confirm':
      return undefined; // asked twice it says the same
  }
}

function progressOfProtect(status: VmStatus): Step | undefined {
  switch (status.state) {
    case 'PROTECTED':
      return { result: status };
    case 'STARTING':
    case 'SYNCING':
      return { percent: Math.floor(status.sync?.percent ?? 0) };
    default: {
      // An agent that was killed comes back without its peer, and finds it again.
      if (status.state === 'DEGRADED' && Date.now() - Date.parse(status.since) < DEGRADED_PATIENCE_MS)
        return { percent: 0 };
      const why = status.reason === undefined ? '' : `: ${status.reason}`;
      throw new RomulusError('DEGRADED', `${status.vm} is ${status.state}, not PROTECTED${why}`, {
        hint: status.hint ?? `romulus status ${status.vm}`,
      });
    }
  }
}

/** Throws VM_BUSY if the VM came back, since the backup did not resume it. */
function progressOfSwitchover(status: VmStatus, term: number, begun: Begun): Step | undefined {
  if (status.role === 'backup' || status.state === 'FENCED') return { result: status };
  if (status.state === 'SWITCHING' || !runsHere(status)) return { percent: 50 };
  if (status.term === term) {
    // An earlier run may have been killed before it did anything; this one has asked, and waits for it to begin or end.
    if (typeof begun === 'string') return undefined;
    if (performance.now() - begun.hereSinceMs < HAND_OVER_TIMEOUT_MS) return { percent: 50 };
  }
  throw new RomulusError('VM_BUSY', `${status.vm} was not taken over by ${status.peer}; it goes on here`, {
    hint: `romulus status ${status.vm}`,
  });
}

/** The guest runs on this host, by right. */
export function runsHere({ role, state }: VmStatus): boolean {
  if (role === 'backup') return state === 'ACTIVE';
  return state === 'STARTING' || state === 'SYNCING' || state === 'PROTECTED' || state === 'DEGRADED';
}

/** A VM this host does not know yet is in term 0. */
export function termOf(host: OrderHost, vm: string): number {
  return statusOf(host, vm)?.term ?? 0;
}

function statusOf(host: OrderHost, vm: string): VmStatus | undefined {
  return host.statuses().find((status) => status.vm === vm);
}

function requireTerm(host: OrderHost, { vm, term }: VmOrder): void {
  const now = termOf(host, vm);
  if (now === term) return;
  throw new RomulusError('TERM_STALE', `the order for ${vm} was given in term ${term}, this is term ${now}`, {
    hint: `see where it runs now: romulus status ${vm}`,
  });
}

function cannot(host: OrderHost, what: string): RomulusError {
  return new RomulusError('PREREQUISITE', `the agent of ${host.node} cannot ${what}`, {
    hint: 'install the newest release on that host',
  });
}
