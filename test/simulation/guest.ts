/** A simulated guest and its output gate: epochs as a chain of states, and what of their output clients have seen. */

import type { Epoch } from '../../shared/vm.ts';

/** The state of the guest at the end of an epoch; following `parent` gives its whole past. */
export interface GuestState {
  epoch: Epoch;
  parent: GuestState | undefined;
}

export const boot: GuestState = { epoch: 0, parent: undefined };

/** True if `earlier` lies in the past of `later`, or is it. */
export function descends(later: GuestState, earlier: GuestState): boolean {
  let at: GuestState | undefined = later;
  while (at !== undefined && at.epoch > earlier.epoch) at = at.parent;
  return at === earlier;
}

/** Outside the agent: it outlives a stopped agent, shuts when the agent dies, and checks the clock itself. */
export class Gate {
  mode: 'shut' | 'held' | 'open' = 'shut';
  private permit: { epoch: Epoch; untilMs: number } | undefined;
  private waiting: GuestState[] = [];
  private readonly show: (state: GuestState) => void;

  constructor(show: (state: GuestState) => void) {
    this.show = show;
  }

  /** Output of the epoch that ends in `state`. */
  put(state: GuestState, localMs: number): void {
    this.waiting.push(state);
    this.release(localMs);
  }

  allow(epoch: Epoch, untilMs: number, localMs: number): void {
    if (this.mode === 'shut') this.mode = 'held';
    if (this.mode === 'held') this.permit = { epoch, untilMs };
    this.release(localMs);
  }

  open(localMs: number): void {
    this.mode = 'open';
    this.permit = undefined;
    this.release(localMs);
  }

  hold(): void {
    this.mode = 'held';
    this.permit = undefined;
  }

  shut(): void {
    this.mode = 'shut';
    this.permit = undefined;
  }

  /** The guest is gone, and with it what it wanted to say. */
  drop(): void {
    this.shut();
    this.waiting = [];
  }

  /** Whether a packet could leave at this instant. */
  isOpen(localMs: number): boolean {
    return this.mode === 'open' || (this.permit !== undefined && localMs < this.permit.untilMs);
  }

  private release(localMs: number): void {
    if (!this.isOpen(localMs)) return;
    const upTo = this.permit?.epoch ?? Number.POSITIVE_INFINITY;
    while (this.waiting[0] !== undefined && this.waiting[0].epoch <= upTo)
      this.show(this.waiting.shift() as GuestState);
  }
}
