/** The backup's authority as data: its state, what happens to it, and what it asks to be done. */

import type { Epoch } from '../vm.ts';
import type { Image, Party, SharedEffect } from './authority.ts';
import * as dialogue from './dialogue.ts';
import { type Policy, promiseEndsMs } from './policy.ts';
import type { TermRecord } from './terms.ts';

/**
 * STANDBY: acknowledges, watches, waits. CLAIMING: the claim to the VM is with the witness and may be in doubt; nothing
 * is acknowledged. FENCING: the register is won, the proof that the old primary is dead is not. ACTIVE: promoted.
 */
export type BackupPhase = 'STANDBY' | 'CLAIMING' | 'FENCING' | 'ACTIVE';

/** A failover an operator asked for; `fencedBy` vouches that the old primary is dead. */
export interface FailoverOrder {
  /** The term the operator saw: an order that waited somewhere until another node took over is void. */
  term: number;
  fencedBy?: string;
  acceptDataLoss?: boolean;
}

export interface BackupState {
  party: Party;
  policy: Policy;
  phase: BackupPhase;
  term: number;
  image: Image;
  /**
   * Term in which this node was given the VM and may have shown output; 0 if never. In it, it does not pass for a
   * standby that never moved, which would prove to the other side that nothing is lost.
   */
  ranTerm: number;
  witness: dialogue.Dialogue;
  /** No resume before this: the newest promise given, or one waited out after a restart (rules 6 and 8). */
  promiseEndsMs: number;
  /** When the primary was last heard, on any channel. */
  heardMs: number;
  /** A session with it is open. Its end is no death, but an operator's order need not wait for silence after it. */
  connected: boolean;
  /** Term in which the primary itself said that it lets go; waives the promise. */
  releasedTerm: number | undefined;
  order: FailoverOrder | undefined;
}

export type BackupEvent =
  | dialogue.WitnessEvent
  | { on: 'tick' }
  /** Any message of the primary; a beat is answered only if `answer` comes of it. */
  | { on: 'heard'; term: number }
  /** The session ended. */
  | { on: 'lost' }
  /** COMMIT(epoch) is checked and held at the configured durability; the image can be brought to it whatever happens. */
  | { on: 'committed'; term: number; epoch: Epoch }
  /** The primary wants to overwrite the image out of order. Without `admitResync` it may not: a claim is being made. */
  | { on: 'resyncAsked'; term: number }
  /** A scrub found a difference, a write failed, the file is gone (rule 21). */
  | { on: 'imageLost'; reason: string }
  /** The primary let go: its gate is shut and the register hands the VM over in `term`. */
  | { on: 'handOver'; term: number; epoch: Epoch }
  | { on: 'failover'; order: FailoverOrder }
  /** How the fence command ended, or the watchdog's bound. */
  | { on: 'fenceResult'; proven: boolean; detail: string };

export type BackupEffect =
  | SharedEffect
  /** Acknowledge; the promise runs from before this effect was decided. */
  | { do: 'ack'; term: number; epoch: Epoch; promiseMs: number }
  /** Answer the beat, carrying its `sentMs` back: this node stands by, and makes no claim. */
  | { do: 'answer'; term: number }
  /** The image may be overwritten; it is whole again with the next `committed`. */
  | { do: 'admitResync'; term: number }
  /** Run the fence command and answer with `fenceResult`. */
  | { do: 'proveFenced' }
  /**
   * End the receiving session, drop what is partial, resume the VM from what is committed (`epoch`, or later if one was
   * committed and not acknowledged); then go on as `primaryAfterPromotion`. `acceptDataLoss` for the audit log.
   */
  | { do: 'promote'; term: number; epoch: Epoch; acceptDataLoss: boolean };

/** A backup that starts or starts again. It may have promised something before, so it waits a whole promise out. */
export function startBackup(
  party: Party,
  policy: Policy,
  start: { record: TermRecord; image: Image; nowMs: number },
): BackupState {
  return {
    party,
    policy,
    phase: 'STANDBY',
    term: start.record.term,
    image: start.image,
    ranTerm: start.record.role === 'primary' ? start.record.term : 0,
    witness: dialogue.newDialogue,
    promiseEndsMs: promiseEndsMs(policy, start.nowMs),
    heardMs: start.nowMs,
    connected: false,
    releasedTerm: undefined,
    order: undefined,
  };
}
