/** The epoch loop of a simulated primary, as little of it as authority needs. */

import type { PrimaryState } from '../../shared/control/primary-state.ts';
import type { GuestState } from './guest.ts';
import type { Node } from './node.ts';

const WINDOW_EPOCHS = 4;
const RESEND_MS = 90;

interface Unacked {
  state: GuestState;
  sentMs: number;
  whole: boolean;
}

export class Epochs {
  readonly #node: Node;
  #unacked: Unacked[] = [];
  #resync: 'asked' | 'admitted' | undefined;
  /** The guest stands still after its next capture, to be handed over. */
  finalDue = false;

  constructor(node: Node) {
    this.#node = node;
  }

  tick(state: PrimaryState): void {
    const node = this.#node;
    if (state.phase === 'FENCED' || state.phase === 'STARTING' || node.guest === undefined) return;
    node.send({ kind: 'beat', term: state.term, sentMs: node.localMs });
    if (this.#resync === 'asked') node.send({ kind: 'resync', term: state.term });
    this.#resend(state);
    this.#capture();
  }

  acked(epoch: number): void {
    const { guest } = this.#node;
    this.#unacked = this.#unacked.filter((entry) => entry.state.epoch > epoch);
    if (!this.finalDue || guest?.running !== false || this.#unacked.length > 0) return;
    this.finalDue = false;
    this.#node.feed({ on: 'handOver', epoch: guest.state.epoch, guestAlive: true });
  }

  askResync(): void {
    this.#resync = 'asked';
  }

  resyncAdmitted(): void {
    if (this.#resync === 'asked') this.#resync = 'admitted';
  }

  stopResync(): void {
    this.#resync = undefined;
  }

  /** A new life of the agent knows of none of it. */
  forget(): void {
    this.#unacked = [];
    this.#resync = undefined;
  }

  /** What was sent needs no acknowledgement any more. */
  dropUnacked(): void {
    this.#unacked = [];
  }

  #resend(state: PrimaryState): void {
    const oldest = this.#unacked[0];
    if (oldest === undefined || this.#node.localMs - oldest.sentMs < RESEND_MS) return;
    for (const entry of this.#unacked) this.#sendCommit(state, entry);
  }

  #capture(): void {
    const node = this.#node;
    const { guest } = node;
    if (guest === undefined || !guest.running || this.#unacked.length >= WINDOW_EPOCHS) return;
    guest.state = { epoch: guest.state.epoch + 1, parent: guest.state };
    const joins = this.#resync === 'admitted';
    if (joins) {
      node.feed({ on: 'joinCapture', epoch: guest.state.epoch });
      this.forget();
    }
    node.gate.put(guest.state, node.localMs);
    if (node.machine?.as !== 'primary') return;
    const { state } = node.machine;
    if (state.phase === 'SOLO' || state.phase === 'STARTING' || state.phase === 'FENCED') return;
    const entry = { state: guest.state, sentMs: 0, whole: joins };
    this.#unacked.push(entry);
    this.#sendCommit(state, entry);
    if (this.finalDue) guest.running = false;
  }

  #sendCommit({ term }: PrimaryState, entry: Unacked): void {
    entry.sentMs = this.#node.localMs;
    this.#node.send({ kind: 'commit', term, renew: false, ...entry });
  }
}
