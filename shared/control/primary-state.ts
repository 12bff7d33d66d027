/** The primary's authority as data: its state, what happens to it, and what it asks to be done. */

import type { Epoch } from '../vm.ts';
import type { Party, SharedEffect, Step } from './authority.ts';
import * as dialogue from './dialogue.ts';
import type { Policy } from './policy.ts';
import type { RegisterState } from './register.ts';

/**
 * STARTING: the register has not answered yet, gate shut. SOLO: runs unprotected, gate open (register SYNCING or SOLO).
 * JOINING: output is held from the sync epoch on, the claim to PROTECTED is being made. PROTECTED. LEAVING: the backup
 * is lost, the claim to SOLO is being made. HANDING, HANDED: switchover, before and after the register changed.
 * FENCED: another node owns the VM. ENDED: the guest ended by itself.
 */
export type PrimaryPhase =
  | 'STARTING'
  | 'SOLO'
  | 'JOINING'
  | 'PROTECTED'
  | 'LEAVING'
  | 'HANDING'
  | 'HANDED'
  | 'FENCED'
  | 'ENDED';

export interface PrimaryState {
  party: Party;
  policy: Policy;
  phase: PrimaryPhase;
  term: number;
  witness: dialogue.Dialogue;
  /** When the newest message was sent that the peer answered in this term: it stood by after that. -Infinity if none. */
  heardMs: number;
  /** Since when it has been heard without a break. */
  heardSinceMs: number;
  /** Epoch the standby must hold to be promotable: of the resync in JOINING, the final one in HANDING. */
  syncEpoch: Epoch;
  syncAcked: boolean;
  resyncing: boolean;
  /** Set when only SOLO and a resync lead back to PROTECTED, even if the peer is heard again at once. */
  mustResync: boolean;
  /** Paused by isolation, `freeze` or a switchover; not by the epoch loop. */
  paused: boolean;
  /** The guest can go on here; false once it has ended, so that a handover is never taken back. */
  guestAlive: boolean;
  /** Entered the present phase. */
  phaseMs: number;
  joinedMs: number;
  flaps: number;
  /** Why no change of mode is made until an operator confirms; undefined if nothing bars it. */
  barred: string | undefined;
  /** The operator vouched that this node owns the VM, whatever the witness lost. */
  confirmed: boolean;
  /** Serving alone shows nothing: without a witness, the other side may hold an image that an operator could promote. */
  quiet: boolean;
  /** When a resync last made headway; the link is full of it, so that beats may come late. */
  movedMs: number;
}

export type PrimaryEvent =
  | dialogue.WitnessEvent
  | { on: 'tick' }
  /**
   * The peer, standing by, answered a beat or COMMIT(epoch) that was sent at `sentMs`: this node's clock, read before
   * sending and carried there and back. Only round trips count, so a link that loses one way is a lost backup.
   */
  | { on: 'heard'; term: number; sentMs: number }
  | { on: 'ack'; term: number; epoch: Epoch; sentMs: number }
  /** The peer answered that a higher term exists. */
  | { on: 'rejected'; term: number }
  /** A part of a resync left: the peer takes it, however late its answers come. */
  | { on: 'moved' }
  /** The peer has no use for deltas: its image is lost, damaged, or of another lineage. */
  | { on: 'peerUnfit'; reason: string }
  /** The resync comes to its end with this epoch, being captured now: output is held from it on. */
  | { on: 'joinCapture'; epoch: Epoch }
  /** The operator, who saw `term`, wants the VM on the peer; answered by `prepareHandOver`, or refused. */
  | { on: 'switchover'; term: number }
  /** The operator thinks better of it, or the final epoch could not be captured. */
  | { on: 'cancelSwitchover' }
  /**
   * The final epoch of the paused guest is acknowledged. Also, with `guestAlive` false, when its hypervisor died under
   * it: the peer goes on from `epoch`, the last one acknowledged.
   */
  | { on: 'handOver'; epoch: Epoch; guestAlive: boolean }
  /** The guest shut down, panicked or was destroyed on purpose: not a failure of the host. */
  | { on: 'guestEnded'; how: string }
  /** The operator, who saw `term`, says that this node owns the VM, after the witness lost or changed its memory. */
  | { on: 'confirm'; term: number };

export type PrimaryEffect =
  | SharedEffect
  /** Output of epochs <= epoch may leave while this node's clock is below untilMs; the gate itself checks the clock. */
  | { do: 'openGate'; epoch: Epoch; untilMs: number }
  /** All output leaves at once. */
  | { do: 'openGateFully' }
  /** Hold the output of `fromEpoch` and later; what was shown before stays shown. */
  | { do: 'holdOutput'; fromEpoch: Epoch }
  /** Nothing leaves; permits given before are void. */
  | { do: 'closeGate' }
  /** A permit ran out before it came: send COMMIT(epoch) again, for a new promise. */
  | { do: 'renew'; epoch: Epoch }
  | { do: 'pauseGuest'; why: string }
  /** Pause the guest, capture its final epoch, and send `handOver` when it is acknowledged; `resumeGuest` calls it off. */
  | { do: 'prepareHandOver' }
  | { do: 'resumeGuest' }
  /** Pause for good or destroy; this node's copies of memory and disk are stale from now on. */
  | { do: 'fence'; why: string }
  /** Bring the backup up to date, then send `joinCapture`. */
  | { do: 'resync' }
  | { do: 'stopResync' }
  /** The peer owns the VM in `term` from `epoch` on, and nothing leaves here any more: it may resume at once. */
  | { do: 'tellHandOver'; term: number; epoch: Epoch };

/**
 * A primary that starts, or starts again on a guest that outlived its agent. The gate must be shut. `serving`: a new VM,
 * which no other node can own yet.
 */
export function startPrimary(
  party: Party,
  policy: Policy,
  start: { term: number; paused: boolean; nowMs: number; serving?: boolean },
): PrimaryState {
  return {
    party,
    policy,
    phase: 'STARTING',
    term: start.term,
    witness: dialogue.newDialogue,
    heardMs: Number.NEGATIVE_INFINITY,
    heardSinceMs: Number.POSITIVE_INFINITY,
    syncEpoch: 0,
    syncAcked: false,
    resyncing: false,
    mustResync: true,
    paused: start.paused,
    guestAlive: true,
    phaseMs: start.nowMs,
    joinedMs: Number.NEGATIVE_INFINITY,
    flaps: 0,
    barred: undefined,
    confirmed: false,
    quiet: !policy.witness && start.serving !== true,
    movedMs: Number.NEGATIVE_INFINITY,
  };
}

/** A backup that has just promoted: it owns the register, so it serves at once. Returns the gate's first effect too. */
export function primaryAfterPromotion(
  party: Party,
  policy: Policy,
  register: RegisterState | undefined,
  start: { term: number; nowMs: number },
): Step<PrimaryState, PrimaryEffect> {
  const state = startPrimary(party, policy, { ...start, paused: false, serving: true });
  state.witness = { ...state.witness, register, liveRunId: register?.runId ?? '', answeredMs: start.nowMs };
  // Where there is no witness each side keeps a register of its own, and this side's begins here.
  if (!policy.witness && register === undefined) {
    const alone = { term: start.term, owner: party.self, mode: 'SOLO', syncEpoch: 0 } as const;
    state.witness = dialogue.writeLocally(state.witness, alone, start.nowMs);
  }
  state.phase = 'SOLO';
  return [state, [{ do: 'openGateFully' }]];
}
