/** How a primary follows its register: whoever owns it serves, everybody else is fenced, and an older one bars. */

import * as dialogue from './dialogue.ts';
import type { PrimaryEffect, PrimaryPhase, PrimaryState } from './primary-state.ts';
import { type RegisterState, versionOf } from './register.ts';

/** One step in the making: a copy of the state that may be changed, and the effects so far. */
export interface Turn {
  state: PrimaryState;
  readonly nowMs: number;
  readonly effects: PrimaryEffect[];
}

export function enter({ state, nowMs }: Turn, phase: PrimaryPhase): void {
  state.phase = phase;
  state.phaseMs = nowMs;
}

/** Lays what the witness says over what this node believes; `written` if it is this node's own write that it took. */
export function adoptRegister(turn: Turn, written: boolean): void {
  const { state } = turn;
  const { register } = state.witness;
  state.barred = undefined;
  if (register === undefined) {
    if (state.term > 0) state.barred = 'the witness has forgotten this VM';
    return;
  }
  if (register.term < state.term) {
    state.barred = `the witness is at term ${register.term}, this node has seen ${state.term}`;
    return;
  }
  if (register.owner !== state.party.self) {
    if (register.mode === 'SWITCHING' && state.phase === 'HANDED') return;
    if (register.mode === 'SWITCHING' && state.phase === 'HANDING') handedOver(turn, register);
    else fence(turn, register.term, `${register.owner} owns the VM`);
    return;
  }
  if (state.phase === 'STARTING' && !written) {
    // An earlier life of this agent may have left a write on its way, so a write comes before anything is served;
    // and since what the backup holds is unknown here, the way to PROTECTED is through SOLO and a resync.
    state.witness.inDoubt = { version: versionOf(register), inRun: state.witness.liveRunId };
    enter(turn, 'LEAVING');
    rememberTerm(turn, register);
  } else if (state.phase === 'STARTING') {
    rememberTerm(turn, register);
  } else if (register.term > state.term) {
    // Taken back, or confirmed by the operator: no image of the old term is of use to the new one.
    rememberTerm(turn, register);
    state.quiet = false;
    serveSolo(turn);
    return;
  }
  if (register.mode === 'PROTECTED') followProtected(turn, register);
  else followSolo(turn);
}

function rememberTerm({ state, effects }: Turn, register: RegisterState): void {
  state.term = register.term;
  state.confirmed = false;
  effects.push({
    do: 'persist',
    record: { term: register.term, role: 'primary', epoch: register.syncEpoch },
  });
}

function followProtected(turn: Turn, register: RegisterState): void {
  const { state, nowMs, effects } = turn;
  if (state.phase !== 'JOINING' || !state.syncAcked || register.syncEpoch !== state.syncEpoch) return;
  enter(turn, 'PROTECTED');
  Object.assign(state, { joinedMs: nowMs, resyncing: false });
  effects.push({ do: 'note', kind: 'protected', detail: `from epoch ${register.syncEpoch}` });
}

function followSolo(turn: Turn): void {
  const { state, nowMs } = turn;
  // A claim to PROTECTED may still be applied over this, and the backup would then be free to promote.
  if (state.witness.inDoubt !== undefined) return;
  // In JOINING that claim is yet to be made; in SOLO and ENDED this is no news.
  if (state.phase === 'JOINING' || state.phase === 'SOLO' || state.phase === 'ENDED') return;
  if (state.phase === 'LEAVING') {
    state.flaps = nowMs - state.joinedMs < state.policy.calmMs ? state.flaps + 1 : 0;
    state.heardSinceMs = Number.POSITIVE_INFINITY;
  }
  serveSolo(turn);
}

/** Nothing that could still be applied stands against it: this node runs the VM alone. */
export function serveSolo(turn: Turn): void {
  const { state, effects } = turn;
  stopResync(turn);
  enter(turn, state.guestAlive ? 'SOLO' : 'ENDED');
  Object.assign(state, { mustResync: true, confirmed: false });
  if (!state.guestAlive) return;
  resume(turn);
  if (!state.quiet) effects.push({ do: 'openGateFully' });
}

export function stopResync({ state, effects }: Turn): void {
  if (!state.resyncing) return;
  state.resyncing = false;
  effects.push({ do: 'stopResync' });
}

export function resume({ state, effects }: Turn): void {
  if (!state.paused || !state.guestAlive) return;
  state.paused = false;
  effects.push({ do: 'resumeGuest' });
}

function handedOver(turn: Turn, register: RegisterState): void {
  enter(turn, 'HANDED');
  turn.state.term = register.term;
  turn.effects.push(
    { do: 'persist', record: { term: register.term, role: 'backup', epoch: register.syncEpoch } },
    { do: 'tellHandOver', term: register.term, epoch: register.syncEpoch },
  );
  // Nobody will tell that it was resumed, and taking it back would need a register.
  if (!turn.state.policy.witness) fence(turn, register.term, 'handed over');
}

/** Gate first, then the guest, then the memory of it: a crash in between leaves less running, never more. */
export function fence(turn: Turn, term: number, why: string): void {
  const { state, effects } = turn;
  enter(turn, 'FENCED');
  Object.assign(state, { term, resyncing: false, witness: { ...state.witness, outstanding: undefined } });
  effects.push(
    { do: 'closeGate' },
    { do: 'fence', why },
    { do: 'persist', record: { term, role: 'backup', epoch: 0 } },
    { do: 'note', kind: 'fenced', detail: why },
  );
}

/** For status: what an operator should know beyond the phase. */
export function concernOf(state: PrimaryState): string | undefined {
  if (state.barred !== undefined) return `${state.barred}: romulus confirm ${state.party.vm}`;
  if (state.policy.witness && dialogue.needsConfirming(state.witness))
    return 'the witness restarted; waiting to confirm';
  if (state.paused && state.phase === 'LEAVING') return 'paused: neither backup nor a claim to run alone';
  if (state.quiet && state.phase === 'SOLO')
    return `output held, since the backup may have been promoted; if not: romulus confirm ${state.party.vm}`;
  return state.policy.witness ? undefined : 'no witness: failover by hand only';
}
