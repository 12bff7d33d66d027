/** The invariants of docs/safety.md, checked as things happen; the first one broken ends the run. */

import type { RegisterState } from '../../shared/control/register.ts';
import type { TermRecord } from '../../shared/control/terms.ts';
import { descends, type GuestState } from './guest.ts';

export class Violation extends Error {}

export class Checks {
  /** Newest state whose output a client has seen. */
  private seen: GuestState | undefined;
  private readonly committed = new Set<GuestState>();
  private readonly granted = new Set<string>();
  private readonly primaries = new Map<number, string>();
  private readonly terms = new Map<string, number>();
  shown = 0;
  promotions = 0;

  /** I1, at every step. */
  oneOpenGate(open: readonly string[]): void {
    if (open.length > 1) throw new Violation(`I1 two open gates: ${open.join(' and ')}`);
  }

  /** I2, in its two halves: what is shown is on the backup or the owner serves alone; clients see one history. */
  show(state: GuestState, node: string, open: boolean, register: RegisterState | undefined): void {
    const alone = register?.owner === node && register.mode !== 'PROTECTED';
    if (!this.committed.has(state) && !(alone || open))
      throw new Violation(`I2 epoch ${state.epoch} shown before it was committed`);
    if (this.seen !== undefined && !descends(state, this.seen)) {
      throw new Violation(
        `I2 ${node} shows epoch ${state.epoch}, which never saw the shown epoch ${this.seen.epoch}`,
      );
    }
    this.seen = state;
    this.shown += 1;
  }

  /** I5 and I6: an epoch follows the one committed before it, and is the primary's state. */
  commit(before: GuestState | undefined, state: GuestState): void {
    if (before !== undefined && state.parent !== before)
      throw new Violation(`I5 gap before committed epoch ${state.epoch}`);
    this.committed.add(state);
  }

  /** A compare-and-set that the witness applied. */
  wrote({ term, owner }: RegisterState): void {
    this.granted.add(`${term} ${owner}`);
  }

  /** I2 and I3: who resumes owns its term, in a term above that of the image, and has all that clients saw. */
  promote(node: string, term: number, image: GuestState, imageTerm: number): void {
    this.promotions += 1;
    if (!this.granted.has(`${term} ${node}`))
      throw new Violation(`I3 ${node} promotes in term ${term}, which it does not own`);
    if (term <= imageTerm) throw new Violation(`I3 ${node} promotes in the term of its image, ${term}`);
    if (this.seen !== undefined && !descends(image, this.seen)) {
      throw new Violation(`I2 ${node} resumes at epoch ${image.epoch}, clients have seen ${this.seen.epoch}`);
    }
  }

  /** I3 and I4: one primary a term, and what a node remembers only grows. */
  persist(node: string, record: TermRecord): void {
    const before = this.terms.get(node) ?? 0;
    if (record.term < before)
      throw new Violation(`I4 ${node} goes back from term ${before} to ${record.term}`);
    this.terms.set(node, record.term);
    if (record.role !== 'primary') return;
    const rival = this.primaries.get(record.term) ?? node;
    if (rival !== node) throw new Violation(`I3 ${rival} and ${node} are primary in term ${record.term}`);
    this.primaries.set(record.term, node);
  }

  /** A person accepted the loss of what came after this state. */
  acceptLoss(): void {
    this.seen = undefined;
  }
}
