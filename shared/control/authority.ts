/** The two authorities (primary and backup) and the words they share: pure machines that say what a node may do. */

import type { Epoch } from '../vm.ts';
import type { WitnessEffect } from './dialogue.ts';
import type { TermRecord } from './terms.ts';

/** Who speaks of which VM to whom. */
export interface Party {
  vm: string;
  self: string;
  peer: string;
}

/** Effects are carried out in the order given, each finished before the next; a failed `persist` stops the agent. */
export type SharedEffect =
  | WitnessEffect
  /** Save the term record and fsync it. */
  | { do: 'persist'; record: TermRecord }
  /** Answer the peer that its term is over; it fences itself. */
  | { do: 'reject'; term: number }
  /** Tell the operator why what was asked for is refused; the fields of a RomulusError. */
  | {
      do: 'refuse';
      code:
        | 'PRIMARY_ALIVE'
        | 'IMAGE_NOT_PROMOTABLE'
        | 'FENCE_UNPROVEN'
        | 'WITNESS_UNREACHABLE'
        | 'VM_BUSY'
        | 'TERM_STALE';
      message: string;
      hint: string;
    }
  /** For the audit log and `romulus events`. */
  | { do: 'note'; kind: string; detail: string };

/** The pair every step returns. */
export type Step<State, Effect> = [state: State, effects: Effect[]];

/** An image at a complete epoch, and the term whose primary made it; numbers of different terms do not compare. */
export interface Image {
  /** False while a resync overwrites it, after damage, or when this node ran the VM itself since. */
  whole: boolean;
  term: number;
  epoch: Epoch;
}
