/** A failover that an operator asked for: what may be asked, and one answer for all who ask while it is under way. */

import type { FailoverOrder } from '../shared/control/backup-state.ts';
import { RomulusError } from '../shared/errors.ts';
import type { FailoverRequest, FailoverResult } from '../shared/status.ts';

/** `term`: the standby's own, which an order that names none is for. */
export function orderOf(
  { force, fencedBy, acceptDataLoss, term: asked }: FailoverRequest,
  term: number,
): FailoverOrder {
  return {
    term: asked ?? term,
    ...(force && fencedBy && { fencedBy }),
    ...(acceptDataLoss && { acceptDataLoss }),
  };
}

/** Throws VM_BUSY or FENCE_UNPROVEN; whether the primary is alive is the authority's to judge. `active`: the guest runs here. */
export function checkOrder(vm: string, { force, fencedBy }: FailoverRequest, active: boolean): void {
  if (active) {
    throw new RomulusError('VM_BUSY', `${vm} already runs here`, { hint: `romulus status ${vm}` });
  }
  if (force && !fencedBy) {
    throw new RomulusError(
      'FENCE_UNPROVEN',
      'a forced failover needs to know who or what made sure that the primary is dead',
      { hint: `romulus failover ${vm} --force --fenced-by WHO` },
    );
  }
}

/** The one failover under way that somebody waits for. */
export class AwaitedFailover {
  #answer: { resolve(result: FailoverResult): void; reject(error: RomulusError): void } | undefined;
  /** What all who ask meanwhile get; undefined while nobody waits. */
  promise: Promise<FailoverResult> | undefined;

  begin(): Promise<FailoverResult> {
    this.promise = new Promise((resolve, reject) => {
      this.#answer = { resolve, reject };
    });
    return this.promise;
  }

  done(result: FailoverResult): void {
    this.#answer?.resolve(result);
    this.promise = undefined;
  }

  failed(error: RomulusError): void {
    this.#answer?.reject(error);
    this.promise = undefined;
  }
}
