/** What the node that holds the standby may do: acknowledge, and in the end claim and resume the VM. */

import type { Step } from './authority.ts';
import { claimByItself, claimByOrder, claimOfHandedOver, type Verdict } from './backup-claim.ts';
import type { BackupEffect, BackupEvent, BackupState, FailoverOrder } from './backup-state.ts';
import * as dialogue from './dialogue.ts';
import { promiseEndsMs } from './policy.ts';

interface Turn {
  state: BackupState;
  readonly nowMs: number;
  readonly effects: BackupEffect[];
}

/** Pure: the same state, event and time give the same step. */
export function stepBackup(
  before: BackupState,
  event: BackupEvent,
  nowMs: number,
): Step<BackupState, BackupEffect> {
  const turn: Turn = { state: { ...before }, nowMs, effects: [] };
  if (before.phase !== 'ACTIVE') {
    if (!staleTerm(turn, event)) handle(turn, event);
    pursue(turn);
  }
  return [turn.state, turn.effects];
}

/** Refuses what comes from an older term; a newer one is remembered before anything is done in it. */
function staleTerm({ state, effects }: Turn, event: BackupEvent): boolean {
  if (!('term' in event)) return false;
  if (event.term < state.term) effects.push({ do: 'reject', term: state.term });
  if (event.term > state.term) rememberTerm(state, event.term, effects);
  return event.term < state.term;
}

function rememberTerm(state: BackupState, term: number, effects: BackupEffect[]): void {
  state.term = term;
  effects.push({ do: 'persist', record: { term, role: 'backup', epoch: 0 } });
}

function handle(turn: Turn, event: BackupEvent): void {
  const { state, nowMs, effects } = turn;
  switch (event.on) {
    case 'answer':
      hearWitness(turn, event);
      break;
    case 'lost':
      state.connected = false;
      break;
    case 'heard':
      Object.assign(state, { heardMs: nowMs, connected: true });
      if (state.phase === 'STANDBY' && event.term > state.ranTerm)
        effects.push({ do: 'answer', term: event.term });
      break;
    case 'committed':
      Object.assign(state, { heardMs: nowMs, connected: true });
      state.image = { whole: true, term: event.term, epoch: event.epoch };
      // A claim may be with the witness: an acknowledgement now would let output out that races the resume.
      if (state.phase === 'STANDBY') acknowledge(turn);
      break;
    case 'resyncAsked':
      state.heardMs = nowMs;
      if (state.phase !== 'STANDBY') break;
      state.image = { ...state.image, whole: false };
      effects.push({ do: 'admitResync', term: event.term });
      break;
    case 'imageLost':
      state.image = { ...state.image, whole: false };
      effects.push({ do: 'note', kind: 'image-lost', detail: event.reason });
      break;
    case 'handOver':
      state.releasedTerm = event.term;
      // The register may not have been looked at since; without a witness the primary's word is the register.
      state.witness = { ...state.witness, answeredMs: Number.NEGATIVE_INFINITY };
      if (!state.policy.witness) takeOverLocally(turn, event.term);
      break;
    case 'failover':
      takeOrder(turn, event.order);
      break;
    case 'fenceResult':
      if (state.phase !== 'FENCING') break;
      effects.push({ do: 'note', kind: event.proven ? 'fenced-peer' : 'fence-failed', detail: event.detail });
      if (event.proven) promote(turn);
  }
}

function hearWitness(turn: Turn, event: dialogue.WitnessEvent): void {
  const { state, nowMs, effects } = turn;
  state.witness = dialogue.hear(state.witness, event, nowMs, state.policy.retryMs);
  if (event.ask !== state.witness.ask) return;
  if (event.answer.outcome === 'unknown') {
    if (state.order !== undefined && state.phase === 'STANDBY') {
      const message = `The witness does not answer: ${event.answer.reason}.`;
      effects.push({
        do: 'refuse',
        code: 'WITNESS_UNREACHABLE',
        message,
        hint: 'Check the witness: romulus doctor',
      });
      state.order = undefined;
    }
    return;
  }
  const { register } = state.witness;
  if (register !== undefined && register.owner !== state.party.self && register.term > state.term) {
    rememberTerm(state, register.term, effects);
  }
  if (event.answer.outcome === 'applied') won(turn, register?.term ?? state.term);
  else if (state.phase === 'CLAIMING' && state.witness.inDoubt === undefined) {
    state.phase = 'STANDBY';
    // What was committed meanwhile: a primary whose window is full sends no more, and would wait for good.
    const { whole, term } = state.image;
    if (register?.owner === state.party.peer && whole && term === state.term) acknowledge(turn);
  }
}

function acknowledge({ state, nowMs, effects }: Turn): void {
  const { term, epoch } = state.image;
  state.promiseEndsMs = Math.max(state.promiseEndsMs, promiseEndsMs(state.policy, nowMs));
  effects.push({ do: 'ack', term, epoch, promiseMs: state.policy.promiseMs });
}

/** The register is this node's. Its term and role are on disk before the guest runs (rule 11). */
function won(turn: Turn, term: number): void {
  const { state, effects } = turn;
  state.term = term;
  effects.push({ do: 'persist', record: { term, role: 'primary', epoch: state.image.epoch } });
  if (state.policy.fence === 'none' || state.order?.fencedBy !== undefined || state.releasedTerm === term) {
    promote(turn);
    return;
  }
  state.phase = 'FENCING';
  effects.push({ do: 'proveFenced' });
}

function promote({ state, effects }: Turn): void {
  const acceptDataLoss = state.order?.acceptDataLoss === true;
  state.phase = 'ACTIVE';
  state.order = undefined;
  effects.push({ do: 'promote', term: state.term, epoch: state.image.epoch, acceptDataLoss });
}

function takeOverLocally(turn: Turn, term: number): void {
  const { state, nowMs } = turn;
  if (!state.image.whole) return;
  const { self } = state.party;
  const next = { term, owner: self, mode: 'SOLO', syncEpoch: state.image.epoch } as const;
  state.witness = dialogue.writeLocally(state.witness, next, nowMs);
  won(turn, term);
}

function takeOrder(turn: Turn, order: FailoverOrder): void {
  const { state, effects } = turn;
  const hint = `romulus status ${state.party.vm}`;
  if (order.term !== state.term) {
    const message = `The order was given in term ${order.term}, this is term ${state.term}.`;
    effects.push({ do: 'refuse', code: 'TERM_STALE', message, hint });
    return;
  }
  if (state.phase === 'FENCING' && order.fencedBy !== undefined) {
    effects.push({ do: 'note', kind: 'fenced-by-operator', detail: order.fencedBy });
    promote(turn);
    return;
  }
  if (state.phase !== 'STANDBY') {
    const message = `A failover is already under way: ${state.phase}.`;
    effects.push({ do: 'refuse', code: 'VM_BUSY', message, hint });
    return;
  }
  state.order = order;
  // An operator's order is decided on a fresh look, never on a remembered one.
  state.witness = { ...state.witness, answeredMs: Number.NEGATIVE_INFINITY, nextAskMs: turn.nowMs };
}

function pursue(turn: Turn): void {
  const { state, nowMs, effects } = turn;
  const { policy } = state;
  if (state.phase === 'FENCING' || state.phase === 'ACTIVE') return;
  if (policy.witness && !dialogue.mayAsk(state.witness, nowMs)) return;
  const heardWitness = !policy.witness || dialogue.hasAnswered(state.witness);
  const verdict = heardWitness ? judge(state, nowMs) : 'wait';
  if (verdict === 'resume') {
    won(turn, state.witness.register?.term ?? state.term);
    return;
  }
  if (verdict !== 'wait' && 'refused' in verdict) {
    effects.push({ do: 'refuse', ...verdict.refused });
    state.order = undefined;
  } else if (verdict !== 'wait' && !policy.witness) {
    state.witness = dialogue.writeLocally(state.witness, verdict.next, nowMs);
    won(turn, verdict.next.term);
  } else if (verdict !== 'wait') {
    claim(turn, verdict);
    return;
  }
  if (!policy.witness || nowMs - state.witness.answeredMs < policy.witnessPollMs) return;
  const [witness, effect] = dialogue.askToRead(state.witness);
  state.witness = witness;
  effects.push(effect);
}

function claim({ state, effects }: Turn, verdict: Exclude<Verdict, 'wait' | { refused: unknown }>): void {
  if (state.order?.fencedBy !== undefined) {
    effects.push({ do: 'note', kind: 'forced-failover', detail: `fenced by ${state.order.fencedBy}` });
  }
  const [witness, effect] = dialogue.askToWrite(state.witness, verdict.next);
  state.witness = witness;
  state.phase = 'CLAIMING';
  effects.push(effect);
}

function judge(state: BackupState, nowMs: number): Verdict | 'resume' {
  const handedOver = claimOfHandedOver(state, nowMs);
  if (handedOver !== 'wait') return handedOver;
  if (state.order !== undefined) return claimByOrder(state, nowMs);
  return state.policy.failover === 'auto' ? claimByItself(state, nowMs) : 'wait';
}
