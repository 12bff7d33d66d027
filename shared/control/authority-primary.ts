/** What the node that runs a VM may do: when its output may leave, and when it may run without its backup. */

import type { Step } from './authority.ts';
import * as dialogue from './dialogue.ts';
import { holdoffMs, permitEndsMs } from './policy.ts';
import { awaitsOperator, claimOf } from './primary-claim.ts';
import { adoptRegister, enter, fence, resume, serveSolo, stopResync, type Turn } from './primary-register.ts';
import type { PrimaryEffect, PrimaryEvent, PrimaryState } from './primary-state.ts';

/** Pure: the same state, event and time give the same step. A late permit, a stale answer or an old term does no harm. */
export function stepPrimary(
  before: PrimaryState,
  event: PrimaryEvent,
  nowMs: number,
): Step<PrimaryState, PrimaryEffect> {
  const turn: Turn = { state: { ...before }, nowMs, effects: [] };
  if (before.phase !== 'FENCED') {
    if (isFromPeer(event) && event.term > before.term) fence(turn, event.term, 'a higher term exists');
    else handle(turn, event);
    pursue(turn);
  }
  return [turn.state, turn.effects];
}

type FromPeer = Extract<PrimaryEvent, { on: 'heard' | 'ack' | 'rejected' }>;

function isFromPeer(event: PrimaryEvent): event is FromPeer {
  return event.on === 'heard' || event.on === 'ack' || event.on === 'rejected';
}

function handle(turn: Turn, event: PrimaryEvent): void {
  const { state, nowMs, effects } = turn;
  switch (event.on) {
    case 'answer':
      state.witness = dialogue.hear(state.witness, event, nowMs, state.policy.retryMs);
      if (event.answer.outcome !== 'unknown' && event.ask === state.witness.ask) {
        adoptRegister(turn, event.answer.outcome === 'applied');
      }
      break;
    case 'tick':
      watch(turn);
      break;
    case 'heard':
      if (event.term === state.term) hearPeer(turn, event.sentMs);
      break;
    case 'ack':
      if (event.term === state.term) acknowledged(turn, event);
      break;
    case 'moved':
      state.movedMs = nowMs;
      break;
    case 'peerUnfit':
      state.mustResync = true;
      if (leansOnPeer(state)) losePeer(turn, event.reason);
      break;
    case 'joinCapture':
      if (state.phase !== 'SOLO' || !state.resyncing) break;
      enter(turn, 'JOINING');
      Object.assign(state, { syncEpoch: event.epoch, syncAcked: false, mustResync: false, resyncing: false });
      if (state.policy.onBackupLoss === 'hold') state.quiet = true;
      effects.push({ do: 'holdOutput', fromEpoch: event.epoch });
      break;
    case 'switchover':
      if (event.term !== state.term) refuse(turn, 'TERM_STALE', 'The order was given in another term.');
      if (event.term !== state.term || !mayHandOver(turn)) break;
      state.paused = true;
      effects.push({ do: 'prepareHandOver' });
      break;
    case 'cancelSwitchover':
      if (state.phase === 'PROTECTED') resume(turn);
      break;
    case 'handOver':
      // Called off meanwhile, and the guest has run on: the final epoch is not final any more.
      if (event.guestAlive && !state.paused) refuse(turn, 'VM_BUSY', 'The switchover was called off.');
      if ((event.guestAlive && !state.paused) || !mayHandOver(turn)) break;
      enter(turn, 'HANDING');
      Object.assign(state, { syncEpoch: event.epoch, guestAlive: event.guestAlive, paused: true });
      effects.push({ do: 'closeGate' });
      break;
    case 'guestEnded':
      state.guestAlive = false;
      state.mustResync = true;
      effects.push({ do: 'closeGate' }, { do: 'note', kind: 'guest-ended', detail: event.how });
      if (state.phase === 'SOLO') enter(turn, 'ENDED');
      else if (state.phase !== 'HANDING' && state.phase !== 'HANDED') losePeer(turn, event.how);
      break;
    case 'confirm':
      // Given too early, or having waited until another term, it must not be kept for a doubt it was not about.
      state.confirmed = event.term === state.term && awaitsOperator(state);
      if (!state.confirmed) refuse(turn, 'TERM_STALE', 'There is nothing to confirm in this term.');
      break;
  }
}

/** Silence, one way or the other: of the peer, or of everybody. */
function watch(turn: Turn): void {
  const { state, nowMs, effects } = turn;
  const { policy } = state;
  const silentMs = nowMs - state.heardMs;
  const moves = state.resyncing && nowMs - state.movedMs < policy.resyncPatienceMs;
  if (silentMs >= policy.soloAfterMs && !moves) {
    state.heardSinceMs = Number.POSITIVE_INFINITY;
    if (leansOnPeer(state)) losePeer(turn, 'backup silent');
    stopResync(turn);
  }
  const alone = state.phase === 'LEAVING' && !state.paused;
  const frozen = policy.onBackupLoss === 'freeze' && !state.mustResync;
  // The witness would have given SOLO by now if it could: either it is silent too, or it bars the claim.
  const isolated = Math.min(silentMs, nowMs - state.phaseMs) >= policy.isolateAfterMs;
  if (alone && (frozen || isolated)) {
    state.paused = true;
    const why = frozen ? 'backup lost, policy freeze' : 'backup silent, and no claim to run alone';
    effects.push({ do: 'pauseGuest', why });
  }
  const steadyMs = nowMs - state.heardSinceMs;
  // A first protection has no flapping behind it, and while output is held, clients wait for nothing else.
  const atOnce = state.quiet || state.joinedMs === Number.NEGATIVE_INFINITY;
  const holdoff = atOnce ? 0 : holdoffMs(policy, state.flaps);
  if (state.phase === 'SOLO' && !state.resyncing && steadyMs >= holdoff) {
    state.resyncing = true;
    effects.push({ do: 'resync' });
  }
}

function hearPeer(turn: Turn, sentMs: number): void {
  const { state, nowMs } = turn;
  state.heardMs = Math.max(state.heardMs, sentMs);
  // What a stopped agent finds in its sockets tells of a past that may be over.
  if (nowMs - sentMs >= state.policy.soloAfterMs) return;
  state.heardSinceMs = Math.min(state.heardSinceMs, nowMs);
  // It stands by in this term, so no other node was given the VM behind this one's back.
  if (state.quiet && state.phase === 'SOLO' && state.policy.onBackupLoss === 'solo') {
    state.quiet = false;
    turn.effects.push({ do: 'openGateFully' });
  }
  if (state.phase !== 'LEAVING' || state.mustResync || state.witness.inDoubt !== undefined) return;
  // No claim was made that might still be applied, so nothing has changed.
  enter(turn, 'PROTECTED');
  resume(turn);
}

function acknowledged(turn: Turn, ack: Extract<PrimaryEvent, { on: 'ack' }>): void {
  const { state, nowMs, effects } = turn;
  hearPeer(turn, ack.sentMs);
  if (state.phase === 'JOINING' && ack.epoch >= state.syncEpoch) state.syncAcked = true;
  // In LEAVING too: what the backup holds may be shown, whether or not SOLO is already in the register.
  const gated = state.phase === 'PROTECTED' || state.phase === 'JOINING' || state.phase === 'LEAVING';
  if (!gated || !state.guestAlive) return;
  const untilMs = permitEndsMs(state.policy, ack.sentMs);
  if (nowMs < untilMs) effects.push({ do: 'openGate', epoch: ack.epoch, untilMs });
  else effects.push({ do: 'renew', epoch: ack.epoch });
}

/** A handover is called off only while no write of it is under way, and never when there is no guest to go on with. */
function leansOnPeer(state: PrimaryState): boolean {
  if (state.phase === 'HANDING') return state.guestAlive && state.witness.inDoubt === undefined;
  return state.phase === 'PROTECTED' || state.phase === 'JOINING';
}

function losePeer(turn: Turn, why: string): void {
  const { state, effects } = turn;
  stopResync(turn);
  effects.push({ do: 'note', kind: 'backup-lost', detail: why });
  if (state.phase === 'JOINING') {
    state.mustResync = true;
    if (state.witness.inDoubt === undefined) {
      serveSolo(turn);
      return;
    }
  }
  if (state.phase !== 'LEAVING') enter(turn, 'LEAVING');
}

function mayHandOver(turn: Turn): boolean {
  const { phase, barred } = turn.state;
  if (phase === 'PROTECTED' && barred === undefined) return true;
  refuse(
    turn,
    'VM_BUSY',
    `The VM cannot be handed over: this side is ${phase}${barred ? `, ${barred}` : ''}.`,
  );
  return false;
}

function refuse({ state, effects }: Turn, code: 'VM_BUSY' | 'TERM_STALE', message: string): void {
  effects.push({ do: 'refuse', code, message, hint: `romulus status ${state.party.vm}` });
}

/** Asks the witness for what this node wants, or looks at the register when it is time to. */
function pursue(turn: Turn): void {
  const { state, nowMs, effects } = turn;
  if (state.phase === 'FENCED' || state.phase === 'ENDED') return;
  const wanted = claimOf(state, nowMs);
  if (!state.policy.witness) {
    if (wanted === undefined) return;
    state.witness = dialogue.writeLocally(state.witness, wanted, nowMs);
    adoptRegister(turn, true);
    return;
  }
  if (!dialogue.mayAsk(state.witness, nowMs)) return;
  const lookMs = state.phase === 'HANDED' ? state.policy.retryMs : state.policy.witnessPollMs;
  if (wanted === undefined && nowMs - state.witness.answeredMs < lookMs) return;
  const [witness, effect] =
    wanted === undefined ? dialogue.askToRead(state.witness) : dialogue.askToWrite(state.witness, wanted);
  state.witness = witness;
  effects.push(effect);
}
