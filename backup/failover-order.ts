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

/** Throws VM_BUSY, FENCE_UNPROVEN or IMAGE_NOT_PROMOTABLE; whether the primary is alive is the authority's to judge. */
export function checkOrder(
  vm: string,
  { force, fencedBy }: FailoverRequest,
  standby: { active: boolean; promotable: boolean; reason: string | undefined },
): void {
  const hint = `romulus status ${vm}`;
  if (standby.active) throw new RomulusError('VM_BUSY', `${vm} already runs here`, { hint });
  if (force && !fencedBy) {
    throw new RomulusError(
      'FENCE_UNPROVEN',
      'a forced failover needs to know who or what made sure that the primary is dead',
      { hint: `romulus failover ${vm} --force --fenced-by WHO` },
    );
  }
  if (!standby.promotable) {
    const why = standby.reason ?? 'no epoch is committed yet';
    const message = `the standby of ${vm} cannot be promoted: ${why}`;
    throw new RomulusError('IMAGE_NOT_PROMOTABLE', message, { hint });
  }
}

/** The one failover under way that somebody waits for. */
export class AwaitedFailover {
  #waiting: { resolve(result: FailoverResult): void; reject(error: RomulusError): void } | undefined;
  #promise: Promise<FailoverResult> | undefined;

  /** What all who ask meanwhile get; undefined while nobody waits. */
  get promise(): Promise<FailoverResult> | undefined {
    return this.#promise;
  }

  begin(): Promise<FailoverResult> {
    this.#promise = new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
    return this.#promise;
  }

  done(result: FailoverResult): void {
    this.#waiting?.resolve(result);
    this.#over();
  }

  failed(error: RomulusError): void {
    this.#waiting?.reject(error);
    this.#over();
  }

  #over(): void {
    this.#waiting = undefined;
    this.#promise = undefined;
  }
}
