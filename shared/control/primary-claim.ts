/** What a primary wants written into the register, given where it stands; undefined if nothing, or if it may not ask. */

import * as dialogue from './dialogue.ts';
import type { PrimaryState } from './primary-state.ts';
import type { RegisterEntry } from './register.ts';

/** Terms an operator opens lie far above those a witness may have given out and forgotten. */
const OPERATOR_TERM_STEP = 1000;

export function claimOf(state: PrimaryState, nowMs: number): RegisterEntry | undefined {
  const { party, policy, phase, term } = state;
  const { register } = state.witness;
  if (policy.witness && !dialogue.hasAnswered(state.witness)) return undefined;
  if (state.barred !== undefined) return confirmedByOperator(state);
  if (register === undefined) {
    if (phase !== 'STARTING') return undefined;
    return { term: Math.max(term, 1), owner: party.self, mode: 'SYNCING', syncEpoch: 0 };
  }
  const { mode, syncEpoch } = register;
  const mine = { term, owner: party.self, syncEpoch };
  const restarted = dialogue.needsConfirming(state.witness);
  switch (phase) {
    case 'SOLO':
      if (state.quiet && state.confirmed) return confirmedByOperator(state);
      // A witness that lost the change to SOLO is told again; whoever serves alone grants nobody anything.
      if (mode !== 'SOLO' && mode !== 'SYNCING') return { ...mine, mode: 'SOLO' };
      return restarted ? { ...mine, mode } : undefined;
    case 'JOINING':
      if (!state.syncAcked) return undefined;
      return { ...mine, mode: 'PROTECTED', syncEpoch: state.syncEpoch };
    case 'PROTECTED':
      if (!restarted || !peerProvenSinceRestart(state)) return undefined;
      return { ...mine, mode };
    case 'LEAVING': {
      if (restarted && !peerProvenSinceRestart(state)) return confirmedByOperator(state);
      const frozen = policy.onBackupLoss === 'freeze' && !state.mustResync;
      if (!frozen) return { ...mine, mode: 'SOLO' };
      // Nothing is to change, but a confirmation that nobody answered must be settled before the peer counts again.
      return state.witness.inDoubt === undefined ? undefined : { ...mine, mode };
    }
    case 'HANDING':
      if (restarted && !peerProvenSinceRestart(state)) return undefined;
      return { term: term + 1, owner: party.peer, mode: 'SWITCHING', syncEpoch: state.syncEpoch };
    case 'HANDED': {
      const overdue = nowMs - state.phaseMs >= policy.reclaimAfterMs;
      if (restarted && !peerProvenSinceRestart(state)) return confirmedByOperator(state);
      if (restarted) return { term, owner: register.owner, mode, syncEpoch };
      if (!overdue || !state.guestAlive || !policy.witness) return undefined;
      return { ...mine, term: term + 1, mode: 'SOLO' };
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

/** Whether this node waits for an operator to say that it owns the VM. */
export function awaitsOperator(state: PrimaryState): boolean {
  const stuck = state.phase === 'LEAVING' || state.phase === 'HANDED';
  if (state.quiet && state.phase === 'SOLO') return true;
  return (
    state.barred !== undefined ||
    (stuck && dialogue.needsConfirming(state.witness) && !peerProvenSinceRestart(state))
  );
}

/** The operator's word replaces what the witness lost; a new term fences whoever else might think it owns the VM. */
function confirmedByOperator(state: PrimaryState): RegisterEntry | undefined {
  if (!state.confirmed || !state.guestAlive) return undefined;
  const term = Math.max(state.term, state.witness.register?.term ?? 0) + OPERATOR_TERM_STEP;
  const syncEpoch = state.witness.register?.syncEpoch ?? 0;
  return { term, owner: state.party.self, mode: 'SOLO', syncEpoch };
}
