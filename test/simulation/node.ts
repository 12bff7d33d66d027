/** One simulated host: agent, guest, gate, standby image and term record around the real authority machines. */

import type { Image } from '../../shared/control/authority.ts';
import { stepBackup } from '../../shared/control/authority-backup.ts';
import { stepPrimary } from '../../shared/control/authority-primary.ts';
import { type BackupEvent, type BackupState, startBackup } from '../../shared/control/backup-state.ts';
import {
  type PrimaryEvent,
  type PrimaryState,
  primaryAfterPromotion,
  startPrimary,
} from '../../shared/control/primary-state.ts';
import type { RegisterReading } from '../../shared/control/register.ts';
import { startAs } from '../../shared/control/startup.ts';
import type { TermRecord } from '../../shared/control/terms.ts';
import { carryOutBackup, carryOutPrimary } from './effects.ts';
import { Epochs } from './epochs.ts';
import { boot, Gate, type GuestState } from './guest.ts';
import type { Message } from './message.ts';
import type { World } from './world.ts';

export type Machine = { as: 'primary'; state: PrimaryState } | { as: 'backup'; state: BackupState };

export const TICK_MS = 25;

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
  readonly epochs = new Epochs(this);
  /** Of the agent: what an earlier one asked for reaches no later one. */
  life = 0;
  /** Sent when, by the peer's clock, what this node answers now. */
  answering = 0;
  private readonly clock: { rate: number; offsetMs: number };
  readonly world: World;

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
    Object.assign(this, { agentUp: true, hostUp: true });
    this.epochs.forget();
    this.life += 1;
    this.schedule();
    this.decideRole();
  }

  /** `host` takes guest and image along. */
  crash(what: 'agent' | 'host'): void {
    Object.assign(this, { agentUp: false, machine: undefined, stalledUntilMs: 0 });
    this.epochs.finalDue = false;
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
  alive(delayMs: number, run: () => void): void {
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

  endGuest(): void {
    this.guest = undefined;
    this.gate.drop();
    if (this.image !== undefined) this.image.whole = false;
  }

  private tick(): void {
    const { machine } = this;
    if (machine === undefined) return;
    this.feed({ on: 'tick' });
    if (this.machine?.as === 'primary') this.epochs.tick(this.machine.state);
    else if (this.machine?.state.phase === 'STANDBY') this.backupTick(this.machine.state);
  }

  private backupTick(state: BackupState): void {
    if (!state.image.whole) this.send({ kind: 'unfit', term: state.term });
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

  send(message: Message): void {
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
        if (this.machine?.as === 'primary' && this.machine.state.term === term)
          this.epochs.acked(message.epoch);
        break;
      case 'resync':
        this.feedBackup({ on: 'resyncAsked', term });
        break;
      case 'resyncAdmitted':
        if (this.machine?.as === 'primary' && this.machine.state.term === term) this.epochs.resyncAdmitted();
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

  feed(event: PrimaryEvent & BackupEvent): void;
  feed(event: PrimaryEvent | BackupEvent): void;
  feed(event: PrimaryEvent | BackupEvent): void {
    if (this.machine?.as === 'primary') this.feedPrimary(event as PrimaryEvent);
    else this.feedBackup(event as BackupEvent);
  }

  private feedPrimary(event: PrimaryEvent): void {
    if (this.machine?.as !== 'primary') return;
    const [state, effects] = stepPrimary(this.machine.state, event, this.localMs);
    this.machine = { as: 'primary', state };
    for (const effect of effects) if (!this.diedBefore(effect.do)) carryOutPrimary(this, effect);
    if (this.machine?.as === 'primary' && state.phase === 'FENCED') this.becomeBackup(false);
  }

  feedBackup(event: BackupEvent): void {
    if (this.machine?.as !== 'backup') return;
    const [state, effects] = stepBackup(this.machine.state, event, this.localMs);
    this.machine = { as: 'backup', state };
    for (const effect of effects) if (!this.diedBefore(effect.do)) carryOutBackup(this, effect);
  }

  /** An agent may die between any two effects; what follows is not done. */
  private diedBefore(effect: string): boolean {
    if (this.agentUp && effect !== 'note' && this.world.strikes()) this.crash('agent');
    return !this.agentUp;
  }

  promote(term: number, acceptLoss: boolean): void {
    const { image, machine } = this;
    if (image === undefined || machine?.as !== 'backup') throw new Error('promoted without an image');
    if (acceptLoss) this.world.checks.acceptLoss();
    this.world.checks.promote(this.name, term, image.state, image.term);
    this.guest = { running: true, state: image.state };
    image.whole = false;
    this.epochs.forget();
    this.epochs.finalDue = false;
    this.gate.drop();
    const start = { term, nowMs: this.localMs };
    const [state, effects] = primaryAfterPromotion(
      machine.state.party,
      machine.state.policy,
      machine.state.witness.register,
      start,
    );
    this.machine = { as: 'primary', state };
    for (const effect of effects) carryOutPrimary(this, effect);
  }
}
