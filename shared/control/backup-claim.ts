/** Whether a backup may claim the VM, and with what write; or why not, in words for the operator. */

import type { SharedEffect } from './authority.ts';
import type { BackupState } from './backup-state.ts';
import * as dialogue from './dialogue.ts';
import type { RegisterEntry, RegisterState } from './register.ts';

export type Refusal = Omit<Extract<SharedEffect, { do: 'refuse' }>, 'do'>;

/** 'wait': not yet, ask again at the next tick. */
export type Verdict = { next: RegisterEntry } | { refused: Refusal } | 'wait';

/** The image is complete, was made in the term the register speaks of, and reaches its sync epoch. */
export function imageServes(state: BackupState, register: RegisterState): boolean {
  const { image, party } = state;
  const madeInTerm = register.owner === party.self ? register.term - 1 : register.term;
  return image.whole && image.term === madeInTerm && image.epoch >= register.syncEpoch;
}

/** True once the primary's permits have run out whatever its clock did, or it said itself that nothing leaves any more. */
export function promiseOver(state: BackupState, nowMs: number): boolean {
  const { register } = state.witness;
  return nowMs >= state.promiseEndsMs || (register !== undefined && state.releasedTerm === register.term);
}

/** The VM was handed to this node, or a promotion stopped after it won the register: it is this node's to resume. */
export function claimOfHandedOver(state: BackupState, nowMs: number): Verdict | 'resume' {
  const { register } = state.witness;
  if (register?.owner !== state.party.self || !imageServes(state, register) || !promiseOver(state, nowMs))
    return 'wait';
  if (dialogue.needsConfirming(state.witness)) return 'wait';
  if (register.mode === 'SOLO') return 'resume';
  const { term, syncEpoch } = register;
  return { next: { term, owner: state.party.self, mode: 'SOLO', syncEpoch } };
}

/**
 * Rule 11: silence, promise, register and image must all agree. A claim in doubt is made again even if the primary is
 * back: only a write that is answered settles it, and until then nothing is acknowledged.
 */
export function claimByItself(state: BackupState, nowMs: number): Verdict {
  const { register } = state.witness;
  const silent = nowMs - state.heardMs >= state.policy.promoteAfterMs || state.witness.inDoubt !== undefined;
  const protectedByPeer = register?.mode === 'PROTECTED' && register.owner === state.party.peer;
  if (!silent || !protectedByPeer || register.term !== state.term) return 'wait';
  if (dialogue.needsConfirming(state.witness) || !imageServes(state, register) || !promiseOver(state, nowMs))
    return 'wait';
  return { next: entry(state) };
}

/** Rule 19: what an operator may ask for beyond that, and what each step beyond it costs in words. */
export function claimByOrder(state: BackupState, nowMs: number): Verdict {
  const { register } = state.witness;
  const { vm, self } = state.party;
  const { fencedBy, acceptDataLoss } = state.order ?? {};
  const asAsked = claimByItself(state, nowMs);
  if (asAsked !== 'wait' && fencedBy === undefined) return asAsked;
  const forceHint = `If its host is surely dead: romulus failover ${vm} --force --fenced-by WHO`;
  if (fencedBy === undefined) {
    const silentMs = nowMs - state.heardMs;
    if (state.connected && silentMs < state.policy.promoteAfterMs) {
      const message = `The primary of ${vm} is alive: it was heard ${Math.round(silentMs)} ms ago.`;
      const hint = `two running copies would corrupt what clients see. ${forceHint}`;
      return refused('PRIMARY_ALIVE', message, hint);
    }
    if (!state.policy.witness) return claimUnwitnessed(state, nowMs, forceHint);
    // The end of a session is no silence yet; what the primary says next, or does not, decides.
    if (silentMs < state.policy.promoteAfterMs) return 'wait';
    if (register !== undefined && imageServes(state, register) && !promiseOver(state, nowMs)) return 'wait';
    return refused('FENCE_UNPROVEN', 'The primary may still be running.', forceHint);
  }
  if (!state.image.whole || register?.mode === 'SYNCING') {
    return refused('IMAGE_NOT_PROMOTABLE', 'The standby image is not complete.', `romulus status ${vm}`);
  }
  const protectedUntilNow =
    register !== undefined &&
    imageServes(state, register) &&
    (register.mode === 'PROTECTED' || register.owner === self);
  // A witness that restarted may have forgotten that the primary went on alone; without one only the operator can know.
  const current = !state.policy.witness || (protectedUntilNow && !dialogue.needsConfirming(state.witness));
  if (!current && acceptDataLoss !== true) {
    const message = `The primary may have run alone since: this copy is of epoch ${state.image.epoch}, what came later is lost.`;
    return refused('IMAGE_NOT_PROMOTABLE', message, `${forceHint} --accept-data-loss`);
  }
  return { next: { ...entry(state), claim: fencedBy } };
}

/**
 * Without a witness the operator's eyes stand for the register, but only where a primary that lost its backup shows
 * nothing: once the promise is over nothing leaves there, whether it lives or not.
 */
function claimUnwitnessed(state: BackupState, nowMs: number, forceHint: string): Verdict {
  if (!state.image.whole) {
    const hint = `romulus status ${state.party.vm}`;
    return refused('IMAGE_NOT_PROMOTABLE', 'The standby image is not complete.', hint);
  }
  if (state.policy.onBackupLoss === 'solo')
    return refused('FENCE_UNPROVEN', 'The primary may have gone on alone.', forceHint);
  return promiseOver(state, nowMs) ? { next: entry(state) } : 'wait';
}

function entry(state: BackupState): RegisterEntry {
  const term = Math.max(state.term, state.witness.register?.term ?? 0) + 1;
  return { term, owner: state.party.self, mode: 'SOLO', syncEpoch: state.image.epoch };
}

function refused(code: Refusal['code'], message: string, hint: string): Verdict {
  return { refused: { code, message, hint } };
}
