/** What a primary wants written into the register, given where it stands; undefined if nothing, or if it may not ask. */

import * as dialogue from './dialogue.ts';
import type { PrimaryState } from './primary-state.ts';
import type { RegisterEntry } from './register.ts';

export interface Claim {
  next: RegisterEntry;
  /** The witness must not have restarted since the register was last written. */
  sameRun: boolean;
}

export function claimOf(state: PrimaryState, nowMs: number): Claim | undefined {
  const { party, policy, phase, term } = state;
  const { register } = state.witness;
  if (policy.witness && !dialogue.hasAnswered(state.witness)) return undefined;
  if (state.barred !== undefined) return confirmedByOperator(state);
  if (register === undefined) {
    if (phase !== 'STARTING') return undefined;
    const next: RegisterEntry = { term: Math.max(term, 1), owner: party.self, mode: 'SYNCING', syncEpoch: 0 };
    return { next, sameRun: false };
  }
  const { mode, syncEpoch } = register;
  const mine = { term, owner: party.self, syncEpoch };
  const restarted = dialogue.needsConfirming(state.witness);
  switch (phase) {
    case 'SOLO':
      // A witness that lost the change to SOLO is told again; whoever serves alone grants nobody anything.
      if (mode !== 'SOLO' && mode !== 'SYNCING') return { next: { ...mine, mode: 'SOLO' }, sameRun: false };
      return restarted ? { next: { ...mine, mode }, sameRun: false } : undefined;
    case 'JOINING':
      if (!state.syncAcked) return undefined;
      return { next: { ...mine, mode: 'PROTECTED', syncEpoch: state.syncEpoch }, sameRun: false };
    case 'PROTECTED':
      if (!restarted || !peerProvenSinceRestart(state)) return undefined;
      return { next: { ...mine, mode }, sameRun: false };
    case 'LEAVING':
      if (policy.onBackupLoss === 'freeze' && !state.mustResync) return undefined;
      if (restarted && !peerProvenSinceRestart(state)) return confirmedByOperator(state);
      return { next: { ...mine, mode: 'SOLO' }, sameRun: !restarted };
    case 'HANDING': {
      if (restarted && !peerProvenSinceRestart(state)) return undefined;
      const next = {
        term: term + 1,
        owner: party.peer,
        mode: 'SWITCHING',
        syncEpoch: state.syncEpoch,
      } as const;
      return { next, sameRun: !restarted };
    }
    case 'HANDED': {
      const overdue = nowMs - state.phaseMs >= policy.reclaimAfterMs;
      if (restarted) return confirmedByOperator(state);
      if (!overdue || !state.guestAlive || !policy.witness) return undefined;
      return { next: { ...mine, term: term + 1, mode: 'SOLO' }, sameRun: true };
    }
    default:
      return undefined;
  }
}

/**
 * A witness that restarted may have lost the backup's promotion. An answer to something sent since it was seen to have
 * restarted proves that there was none; and until the register is written again, there can be none.
 */
function peerProvenSinceRestart(state: PrimaryState): boolean {
  return state.heardMs >= (state.witness.restartSeenMs ?? Number.POSITIVE_INFINITY);
}

/** The operator's word replaces what the witness lost; a new term fences whoever else might think it owns the VM. */
function confirmedByOperator(state: PrimaryState): Claim | undefined {
  if (!state.confirmed || !state.guestAlive) return undefined;
  const term = Math.max(state.term, state.witness.register?.term ?? 0) + 1;
  const syncEpoch = state.witness.register?.syncEpoch ?? 0;
  return { next: { term, owner: state.party.self, mode: 'SOLO', syncEpoch }, sameRun: false };
}
