/** One simulated host: agent, guest, gate, standby image and term record around the real authority machines. */

import type { Image } from '../../shared/control/authority.ts';
import { stepBackup } from '../../shared/control/authority-backup.ts';
import { stepPrimary } from '../../shared/control/authority-primary.ts';
import {
  type BackupEffect,
  type BackupEvent,
  type BackupState,
  startBackup,
} from '../../shared/control/backup-state.ts';
import {
  type PrimaryEffect,
  type PrimaryEvent,
  type PrimaryState,
  primaryAfterPromotion,
  startPrimary,
} from '../../shared/control/primary-state.ts';
import type { RegisterReading } from '../../shared/control/register.ts';
import { startAs } from '../../shared/control/startup.ts';
import type { TermRecord } from '../../shared/control/terms.ts';
import { boot, Gate, type GuestState } from './guest.ts';
import type { World } from './world.ts';

export type Message =
  | { kind: 'beat'; term: number; sentMs: number }
  | { kind: 'answer'; term: number; sentMs: number }
  | { kind: 'unfit'; term: number }
  | { kind: 'reject'; term: number }
  | { kind: 'handOver'; term: number; epoch: number }
  | { kind: 'commit'; term: number; state: GuestState; sentMs: number; whole: boolean; renew: boolean }
  | { kind: 'ack'; term: number; epoch: number; sentMs: number }
  | { kind: 'resync'; term: number }
  | { kind: 'resyncAdmitted'; term: number };

export type Machine = { as: 'primary'; state: PrimaryState } | { as: 'backup'; state: BackupState };

export const TICK_MS = 25;
const WINDOW_EPOCHS = 4;
const RESEND_MS = 90;

export class Node {
  readonly name: string;
  readonly gate: Gate;
  /** undefined while the agent is down, or up and not yet told what it is. */
  machine: Machine | undefined;
  agentUp = false;
  hostUp = true;
  stalledUntilMs = 0;
  guest: { running: boolean; state: GuestState } | undefined;
  /** On disk. */
  record: TermRecord = { term: 0, role: 'backup', epoch: 0 };
  /** In tmpfs: outlives the agent, not the host. */
  image: { whole: boolean; term: number; state: GuestState } | undefined;
  private life = 0;
  private unacked: { state: GuestState; sentMs: number; whole: boolean }[] = [];
  private resync: 'asked' | 'admitted' | undefined;
  private finalEpochDue = false;
  private answering = 0;
  private readonly clock: { rate: number; offsetMs: number };
  private readonly world: World;

  constructor(name: string, world: World) {
    this.name = name;
    this.world = world;
    const drift = world.policy.driftRatio / 2;
    this.clock = { rate: 1 + world.random.between(-drift, drift), offsetMs: world.random.between(0, 1e6) };
    this.gate = new Gate((state) => {
      world.checks.show(state, name, this.gate.mode === 'open', world.witness.register);
    });
  }

  get localMs(): number {
    return this.world.timeline.nowMs * this.clock.rate + this.clock.offsetMs;
  }

  get peer(): Node {
    return this.world.peerOf(this);
  }

  get serves(): boolean {
    return (
      this.guest !== undefined && this.machine?.as === 'primary' && this.machine.state.phase !== 'FENCED'
    );
  }

  /** Begins to protect a new VM. */
  bootGuest(): void {
    this.guest = { running: true, state: boot };
    this.record = { term: 0, role: 'primary', epoch: 0 };
    this.becomePrimary();
  }

  private becomePrimary(): void {
    const { record, guest, localMs: nowMs } = this;
    const party = this.world.party(this);
    const state = startPrimary(party, this.world.policy, {
      term: record.term,
      paused: guest?.running === false,
      nowMs,
    });
    this.machine = { as: 'primary', state };
  }

  becomeBackup(whole: boolean): void {
    if (this.image !== undefined) this.image.whole = this.image.whole && whole;
    const image: Image = {
      whole: this.image?.whole ?? false,
      term: this.image?.term ?? 0,
      epoch: this.image?.state.epoch ?? 0,
    };
    const start = { record: this.record, image, nowMs: this.localMs };
    this.machine = { as: 'backup', state: startBackup(this.world.party(this), this.world.policy, start) };
  }

  // --- life and death -------------------------------------------------------------------------------------------

  startAgent(): void {
    if (this.agentUp) return;
    Object.assign(this, { agentUp: true, hostUp: true, unacked: [], resync: undefined });
    this.life += 1;
    this.schedule();
    this.decideRole();
  }

  /** `host` takes guest and image along. */
  crash(what: 'agent' | 'host'): void {
    Object.assign(this, { agentUp: false, machine: undefined, stalledUntilMs: 0, finalEpochDue: false });
    this.gate.shut();
    this.life += 1;
    if (what === 'agent') return;
    Object.assign(this, { hostUp: false, guest: undefined, image: undefined });
    this.gate.drop();
  }

  private decideRole(): void {
    const image = { whole: this.image?.whole ?? false, term: this.image?.term ?? 0, epoch: 0 };
    const decide = (reading: RegisterReading) => {
      const start = startAs(
        this.name,
        { record: this.record, guestAlive: this.guest !== undefined, image },
        reading,
      );
      if (start.as === 'wait') return this.alive(TICK_MS, () => this.decideRole());
      if (start.as === 'primary') return this.becomePrimary();
      if (start.endGuest) this.endGuest();
      this.becomeBackup(start.imageWhole);
    };
    const life = this.life;
    this.world.ask(this, { do: 'read', ask: 0 }, (answer) => {
      if (this.life === life) decide(answer as RegisterReading);
    });
  }

  /** Runs later, unless the agent died meanwhile; a stopped agent does it when it goes on. */
  private alive(delayMs: number, run: () => void): void {
    const life = this.life;
    const attempt = () => {
      if (this.life !== life) return;
      const stalledMs = this.stalledUntilMs - this.world.timeline.nowMs;
      if (stalledMs > 0) this.world.timeline.after(stalledMs, attempt);
      else run();
    };
    this.world.timeline.after(delayMs, attempt);
  }

  private schedule(): void {
    this.alive(TICK_MS, () => {
      this.schedule();
      this.tick();
    });
  }

  private endGuest(): void {
    this.guest = undefined;
    this.gate.drop();
    if (this.image !== undefined) this.image.whole = false;
  }

  // --- the epoch loop, as little of it as authority needs --------------------------------------------------------

  private tick(): void {
    const { machine } = this;
    if (machine === undefined) return;
    this.feed({ on: 'tick' });
    if (this.machine?.as === 'primary') this.primaryTick(this.machine.state);
    else if (this.machine?.state.phase === 'STANDBY') this.backupTick(this.machine.state);
  }

  private backupTick(state: BackupState): void {
    if (!state.image.whole) this.send({ kind: 'unfit', term: state.term });
  }

  private primaryTick(before: PrimaryState): void {
    if (before.phase === 'FENCED' || this.guest === undefined) return;
    if (before.phase === 'STARTING') return;
    this.send({ kind: 'beat', term: before.term, sentMs: this.localMs });
    if (this.resync === 'asked') this.send({ kind: 'resync', term: before.term });
    this.resend(before);
    this.capture();
  }

  private resend(state: PrimaryState): void {
    const oldest = this.unacked[0];
    if (oldest === undefined || this.localMs - oldest.sentMs < RESEND_MS) return;
    for (const entry of this.unacked) this.sendCommit(state, entry);
  }

  private capture(): void {
    const { guest } = this;
    if (guest === undefined || !guest.running || this.unacked.length >= WINDOW_EPOCHS) return;
    guest.state = { epoch: guest.state.epoch + 1, parent: guest.state };
    const joins = this.resync === 'admitted';
    if (joins) {
      this.feed({ on: 'joinCapture', epoch: guest.state.epoch });
      Object.assign(this, { resync: undefined, unacked: [] });
    }
    this.gate.put(guest.state, this.localMs);
    if (this.machine?.as !== 'primary') return;
    const { state } = this.machine;
    if (state.phase === 'SOLO' || state.phase === 'STARTING' || state.phase === 'FENCED') return;
    const entry = { state: guest.state, sentMs: 0, whole: joins };
    this.unacked.push(entry);
    this.sendCommit(state, entry);
    if (this.finalEpochDue) guest.running = false;
  }

  private sendCommit(
    state: PrimaryState,
    entry: { state: GuestState; sentMs: number; whole: boolean },
  ): void {
    entry.sentMs = this.localMs;
    this.send({ kind: 'commit', term: state.term, renew: false, ...entry });
  }

  private acked(epoch: number): void {
    this.unacked = this.unacked.filter((entry) => entry.state.epoch > epoch);
    if (!this.finalEpochDue || this.guest?.running !== false || this.unacked.length > 0) return;
    this.finalEpochDue = false;
    this.feed({ on: 'handOver', epoch: this.guest.state.epoch, guestAlive: true });
  }

  /** What an operator asks for. */
  order(what: 'switchover' | 'failover' | 'force' | 'force-with-loss' | 'confirm'): void {
    const term = this.machine?.state.term ?? 0;
    this.alive(0, () => {
      if (what === 'switchover') this.feedPrimary({ on: 'switchover', term });
      else if (what === 'confirm') this.feedPrimary({ on: 'confirm', term });
      else if (what === 'failover') this.feedBackup({ on: 'failover', order: { term } });
      else {
        const acceptDataLoss = what === 'force-with-loss';
        this.feedBackup({ on: 'failover', order: { term, fencedBy: 'operator', acceptDataLoss } });
      }
    });
  }

  // --- messages ---------------------------------------------------------------------------------------------------

  private send(message: Message): void {
    this.world.send(this, message);
  }

  receive(message: Message): void {
    this.alive(0, () => this.take(message));
  }

  private take(message: Message): void {
    const { kind, term } = message;
    switch (kind) {
      case 'beat':
        this.answering = message.sentMs;
        if (this.machine?.as === 'backup') this.feedBackup({ on: 'heard', term });
        else this.rivalPrimary(term);
        break;
      case 'answer':
        this.feedPrimary({ on: 'heard', term, sentMs: message.sentMs });
        break;
      case 'unfit':
        if (
          this.machine?.as === 'primary' &&
          term === this.machine.state.term &&
          this.machine.state.phase !== 'JOINING'
        ) {
          this.feedPrimary({ on: 'peerUnfit', reason: 'image not whole' });
        }
        break;
      case 'reject':
        this.feedPrimary({ on: 'rejected', term });
        break;
      case 'handOver':
        this.feedBackup({ on: 'handOver', term, epoch: message.epoch });
        break;
      case 'commit':
        this.takeCommit(message);
        break;
      case 'ack':
        this.feedPrimary({ on: 'ack', term, epoch: message.epoch, sentMs: message.sentMs });
        if (this.machine?.as === 'primary' && this.machine.state.term === term) this.acked(message.epoch);
        break;
      case 'resync':
        this.feedBackup({ on: 'resyncAsked', term });
        break;
      case 'resyncAdmitted':
        if (this.machine?.as === 'primary' && this.machine.state.term === term && this.resync === 'asked') {
          this.resync = 'admitted';
        }
    }
  }

  private rivalPrimary(term: number): void {
    if (this.machine?.as !== 'primary') return;
    const own = this.machine.state.term;
    if (term < own) this.send({ kind: 'reject', term: own });
    else if (term > own) this.feedPrimary({ on: 'rejected', term });
  }

  private takeCommit(message: Extract<Message, { kind: 'commit' }>): void {
    if (this.machine?.as !== 'backup' || this.machine.state.phase === 'FENCING') return;
    const { term, state } = message;
    const held = this.image;
    if (term < this.machine.state.term) {
      this.feedBackup({ on: 'heard', term });
      return;
    }
    const again = held?.whole === true && held.term === term && held.state.epoch >= state.epoch;
    const next = held?.whole === true && held.term === term && held.state === state.parent;
    if (!again && !next && !message.whole) return;
    if (message.whole && !again && this.machine.state.image.whole) return;
    if (!again) {
      this.world.checks.commit(message.whole ? undefined : held?.state, state);
      this.image = { whole: true, term, state };
    }
    this.answering = message.sentMs;
    this.feedBackup({ on: 'committed', term, epoch: this.image?.state.epoch ?? 0 });
  }

  // --- the machines -----------------------------------------------------------------------------------------------

  private feed(event: PrimaryEvent & BackupEvent): void;
  private feed(event: PrimaryEvent | BackupEvent): void;
  private feed(event: PrimaryEvent | BackupEvent): void {
    if (this.machine?.as === 'primary') this.feedPrimary(event as PrimaryEvent);
    else this.feedBackup(event as BackupEvent);
  }

  private feedPrimary(event: PrimaryEvent): void {
    if (this.machine?.as !== 'primary') return;
    const [state, effects] = stepPrimary(this.machine.state, event, this.localMs);
    this.machine = { as: 'primary', state };
    for (const effect of effects) if (!this.diedBefore(effect.do)) this.primaryEffect(effect);
    if (this.machine?.as === 'primary' && state.phase === 'FENCED') this.becomeBackup(false);
  }

  private feedBackup(event: BackupEvent): void {
    if (this.machine?.as !== 'backup') return;
    const [state, effects] = stepBackup(this.machine.state, event, this.localMs);
    this.machine = { as: 'backup', state };
    for (const effect of effects) if (!this.diedBefore(effect.do)) this.backupEffect(effect);
  }

  /** An agent may die between any two effects; what follows is not done. */
  private diedBefore(effect: string): boolean {
    if (this.agentUp && effect !== 'note' && this.world.strikes()) this.crash('agent');
    return !this.agentUp;
  }

  private primaryEffect(effect: PrimaryEffect): void {
    const { gate, guest, localMs } = this;
    switch (effect.do) {
      case 'openGate':
        gate.allow(effect.epoch, effect.untilMs, localMs);
        break;
      case 'openGateFully':
        this.unacked = [];
        gate.open(localMs);
        break;
      case 'holdOutput':
        gate.hold();
        break;
      case 'closeGate':
        gate.shut();
        break;
      case 'renew':
        if (guest !== undefined) {
          const term = this.machine?.state.term ?? 0;
          this.send({ kind: 'commit', term, state: guest.state, sentMs: localMs, whole: false, renew: true });
        }
        break;
      case 'pauseGuest':
        if (guest !== undefined) guest.running = false;
        break;
      case 'prepareHandOver':
        this.finalEpochDue = true;
        break;
      case 'resumeGuest':
        this.finalEpochDue = false;
        if (guest !== undefined) guest.running = true;
        break;
      case 'fence':
        this.endGuest();
        Object.assign(this, { unacked: [], resync: undefined, finalEpochDue: false });
        break;
      case 'resync':
        this.resync = 'asked';
        break;
      case 'stopResync':
        this.resync = undefined;
        break;
      case 'tellHandOver':
        this.send({ kind: 'handOver', term: effect.term, epoch: effect.epoch });
        break;
      default:
        this.sharedEffect(effect);
    }
  }

  private backupEffect(effect: BackupEffect): void {
    switch (effect.do) {
      case 'ack':
        this.send({ kind: 'ack', term: effect.term, epoch: effect.epoch, sentMs: this.answering });
        break;
      case 'answer':
        this.send({ kind: 'answer', term: effect.term, sentMs: this.answering });
        break;
      case 'admitResync':
        if (this.image !== undefined) this.image.whole = false;
        this.send({ kind: 'resyncAdmitted', term: effect.term });
        break;
      case 'proveFenced':
        this.alive(30, () => {
          if (this.peer.hostUp) this.peer.crash('host');
          this.feedBackup({ on: 'fenceResult', proven: true, detail: 'simulated power switch' });
        });
        break;
      case 'promote':
        this.promote(effect.term, effect.acceptDataLoss);
        break;
      default:
        this.sharedEffect(effect);
    }
  }

  private sharedEffect(effect: Extract<PrimaryEffect & BackupEffect, { do: string }>): void {
    if (effect.do === 'persist') {
      this.world.checks.persist(this.name, effect.record);
      this.record = effect.record;
    } else if (effect.do === 'reject') this.send({ kind: 'reject', term: effect.term });
    else if (effect.do === 'read' || effect.do === 'cas') {
      const life = this.life;
      this.world.ask(this, effect, (answer) => {
        if (this.life === life) this.alive(0, () => this.feed({ on: 'answer', ask: effect.ask, answer }));
      });
    }
  }

  private promote(term: number, acceptLoss: boolean): void {
    const { image, machine } = this;
    if (image === undefined || machine?.as !== 'backup') throw new Error('promoted without an image');
    if (acceptLoss) this.world.checks.acceptLoss();
    this.world.checks.promote(this.name, term, image.state, image.term);
    this.guest = { running: true, state: image.state };
    image.whole = false;
    Object.assign(this, { unacked: [], resync: undefined, finalEpochDue: false });
    this.gate.drop();
    const start = { term, nowMs: this.localMs };
    const [state, effects] = primaryAfterPromotion(
      machine.state.party,
      machine.state.policy,
      machine.state.witness.register,
      start,
    );
    this.machine = { as: 'primary', state };
    for (const effect of effects) this.primaryEffect(effect);
  }
}
