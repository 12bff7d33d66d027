/** A host that only writes down what it is asked, for tests of those who ask. */

import type { OrderHost } from '../../cli/agent/orders.ts';
import { RomulusError } from '../../shared/errors.ts';
import type { FailoverRequest, FailoverResult, ProtectRequest, VmStatus } from '../../shared/status.ts';

export function vmStatus(over: Partial<VmStatus>): VmStatus {
  return {
    vm: 'web',
    role: 'backup',
    state: 'STANDBY',
    peer: 'a',
    hypervisor: 'qemu',
    term: 1,
    epoch: 9,
    ackedEpoch: 9,
    epochMs: 25,
    windowEpochs: 8,
    rawBytes: 0,
    wireBytes: 0,
    since: '2026-01-01T00:00:00.000Z',
    ...over,
  };
}

export class WritingHost implements OrderHost {
  readonly node = 'b';
  readonly vms = new Map<string, VmStatus>();
  /** "failover web", in the order in which they were asked. */
  readonly asked: string[] = [];
  running = 0;
  mostAtOnce = 0;
  /** Failovers last until this resolves. */
  hold: Promise<void> = Promise.resolve();
  /** VMs that refuse to fail over. */
  readonly alive = new Set<string>();

  put(over: Partial<VmStatus>): void {
    const status = vmStatus(over);
    this.vms.set(status.vm, status);
  }

  statuses(): VmStatus[] {
    return [...this.vms.values()];
  }

  status(vm: string): VmStatus {
    const status = this.vms.get(vm);
    if (status === undefined) throw new RomulusError('VM_UNKNOWN', `no VM ${vm}`);
    return status;
  }

  async protect({ vm, to }: ProtectRequest): Promise<VmStatus> {
    this.asked.push(`protect ${vm}`);
    this.put({
      vm,
      peer: to,
      role: 'primary',
      state: 'SYNCING',
      sync: { percent: 0, sentBytes: 0, round: 0 },
    });
    return this.status(vm);
  }

  async unprotect(vm: string): Promise<VmStatus> {
    this.asked.push(`unprotect ${vm}`);
    const status = this.status(vm);
    this.vms.delete(vm);
    return { ...status, state: 'ENDED' };
  }

  async failover({ vm, fencedBy }: FailoverRequest): Promise<FailoverResult> {
    this.asked.push(`failover ${vm}${fencedBy === undefined ? '' : ` fenced by ${fencedBy}`}`);
    this.running += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.running);
    await this.hold;
    this.running -= 1;
    if (this.alive.has(vm)) {
      throw new RomulusError('PRIMARY_ALIVE', `the primary of ${vm} was heard`, { hint: 'stop it first' });
    }
    const { epoch, term } = this.status(vm);
    this.put({ vm, state: 'ACTIVE', term: term + 1 });
    return { vm, epoch, term: term + 1, decisionToRunningMs: 1, promiseWaitMs: 0 };
  }

  /** Handed over, or taken back if it is among the `alive`, a little later. */
  async switchover(vm: string, term: number): Promise<VmStatus> {
    this.asked.push(`switchover ${vm}`);
    this.put({ vm, role: 'primary', state: 'SWITCHING', term });
    const back = this.alive.has(vm);
    setTimeout(() => {
      if (back) this.put({ vm, role: 'primary', state: 'PROTECTED', term });
      else this.put({ vm, role: 'backup', state: 'SYNCING', term: term + 1 });
    }, 400);
    return this.status(vm);
  }
}
