/** The primary's authority at work: feeds the machine what happens, and does to gates, guest and peer what it decides. */

import { engine } from '../native/index.ts';
import type { Party } from '../shared/control/authority.ts';
import { stepPrimary } from '../shared/control/authority-primary.ts';
import { carryOutShared, type Refused } from '../shared/control/effects.ts';
import { fairTick } from '../shared/control/fair-tick.ts';
import type { Policy } from '../shared/control/policy.ts';
import { concernOf } from '../shared/control/primary-register.ts';
import {
  type PrimaryEffect,
  type PrimaryEvent,
  type PrimaryPhase,
  type PrimaryState,
  primaryAfterPromotion,
  startPrimary,
} from '../shared/control/primary-state.ts';
import type { RegisterState, WitnessRegister } from '../shared/control/register.ts';
import { Runner } from '../shared/control/runner.ts';
import type { TermFile } from '../shared/control/terms.ts';
import { asRomulusError, RomulusError } from '../shared/errors.ts';
import type { Logger } from '../shared/log.ts';
import type { Epoch } from '../shared/vm.ts';
import type { Ack, Beat } from '../shared/wire/messages.ts';
import type { GateBank } from './gate-bank.ts';
import type { HeldSource } from './held-source.ts';

const TICK_MS = 25;

/** What the machine asks of whoever speaks to the backup. */
export interface PrimaryHands {
  renew(epoch: Epoch): void;
  tellHandOver(term: number, epoch: Epoch): void;
  /** Phase, term or the wish to resync may have changed. */
  onChange(before: PrimaryState, after: PrimaryState): void;
  onEvent(kind: string, fields: Record<string, unknown>): void;
}

export interface PrimaryDriverOptions {
  party: Party;
  policy: Policy;
  term: TermFile;
  register: WitnessRegister | undefined;
  gates: GateBank;
  guest: HeldSource;
  log: Logger;
  hands: PrimaryHands;
}

/** How this primary came to be: a new VM, one taken up after a restart of the agent, or promoted here. */
export type PrimaryOrigin =
  | { as: 'new' }
  | { as: 'restarted' }
  | { as: 'promoted'; register: RegisterState | undefined };

export class PrimaryDriver {
  readonly #options: PrimaryDriverOptions;
  readonly #runner: Runner<PrimaryState, PrimaryEvent, PrimaryEffect, Ack | undefined>;
  #endTicks: () => void = () => {};
  #refused: ((refused: RomulusError) => void) | undefined;
  #failure: RomulusError | undefined;
  #unfenced = false;

  /** Nothing happens until start(). */
  constructor(options: PrimaryDriverOptions, origin: PrimaryOrigin) {
    this.#options = options;
    const { party, policy, term } = options;
    const nowMs = engine().bootTimeMs();
    const start = { term: term.current.term, nowMs };
    const state =
      origin.as === 'promoted'
        ? primaryAfterPromotion(party, policy, origin.register, start)[0]
        : startPrimary(party, policy, { ...start, paused: false, serving: origin.as === 'new' });
    this.#runner = new Runner({
      state,
      step: stepPrimary,
      nowMs: () => engine().bootTimeMs(),
      carryOut: (effect, ack) => this.#carryOut(effect, ack),
      onSettled: (before, after) => options.hands.onChange(before, after),
      onFailed: (error) => this.#onFailed(error),
    });
  }

  start(): void {
    // What primaryAfterPromotion also asks for: a promoted guest serves at once.
    if (this.phase === 'SOLO') this.#options.gates.openUnprotected();
    void this.#runner.feed({ on: 'tick' });
    this.#endTicks = fairTick(TICK_MS, () => void this.#runner.feed({ on: 'tick' }));
  }

  stop(): void {
    this.#endTicks();
    this.#runner.stop();
  }

  /** With all its effects carried out. */
  get state(): PrimaryState {
    return this.#runner.settled;
  }

  get phase(): PrimaryPhase {
    return this.state.phase;
  }

  /** The authority itself broke (its term could not be saved): nothing is decided any more, and nothing leaves. */
  get failure(): RomulusError | undefined {
    return this.#failure;
  }

  /** A guest that should have been stopped could not be: only a reset of the host ends what it does past the gate. */
  get unfenced(): boolean {
    return this.#unfenced;
  }

  /** For status: what an operator should know beyond the phase. */
  get concern(): string | undefined {
    return concernOf(this.state);
  }

  /** Epochs are captured for the backup: protected, on the way there, or not yet given up. */
  get gated(): boolean {
    const { phase } = this.state;
    return phase === 'PROTECTED' || phase === 'JOINING' || phase === 'LEAVING';
  }

  /** The peer answered lately enough that a resync can end in protection. */
  get fresh(): boolean {
    const { heardMs, policy } = this.state;
    return engine().bootTimeMs() - heardMs < policy.soloAfterMs / 2;
  }

  /** Before a seal: the resync ends with this epoch, if the machine agrees at once. */
  joinAt(epoch: Epoch): void {
    const { phase, resyncing } = this.state;
    if (phase === 'SOLO' && resyncing && this.#runner.idle)
      void this.#runner.feed({ on: 'joinCapture', epoch });
  }

  heard({ term, sentMs }: Beat): void {
    void this.#runner.feed({ on: 'heard', term, sentMs });
  }

  acknowledged(ack: Ack): void {
    const { term, epoch, sentMs } = ack;
    void this.#runner.feed({ on: 'ack', term, epoch, sentMs }, ack);
  }

  rejected(term: number): void {
    void this.#runner.feed({ on: 'rejected', term });
  }

  /** Deltas are of no use to the backup. Resolves when the machine has taken note. */
  async unfit(reason: string): Promise<void> {
    await this.#runner.feed({ on: 'peerUnfit', reason });
  }

  moved(): void {
    void this.#runner.feed({ on: 'moved' });
  }

  guestEnded(how: string): Promise<unknown> {
    return this.#runner.feed({ on: 'guestEnded', how });
  }

  handOver(epoch: Epoch, guestAlive: boolean): void {
    void this.#runner.feed({ on: 'handOver', epoch, guestAlive });
  }

  /** Throws what the machine refuses it with. */
  switchover(term: number): Promise<void> {
    return this.#order({ on: 'switchover', term });
  }

  cancelSwitchover(): void {
    void this.#runner.feed({ on: 'cancelSwitchover' });
  }

  /** The operator says that this node owns the VM. Throws TERM_STALE when nothing waits for that. */
  confirm(term: number): Promise<void> {
    return this.#order({ on: 'confirm', term });
  }

  async #order(event: PrimaryEvent): Promise<void> {
    const refusal = new Promise<RomulusError>((resolve) => {
      this.#refused = resolve;
    });
    const done = this.#runner.feed(event).then(() => undefined);
    const refused = await Promise.race([refusal, done]);
    this.#refused = undefined;
    if (refused !== undefined) throw refused;
  }

  #carryOut(effect: PrimaryEffect, ack: Ack | undefined): void | Promise<void> {
    const { gates, guest, hands } = this.#options;
    switch (effect.do) {
      case 'openGate': {
        // The backup's own promise counts where it is the shorter one.
        const promisedMs = ack === undefined ? effect.untilMs : ack.sentMs + ack.promiseMs;
        gates.release(effect.epoch, Math.min(effect.untilMs, promisedMs));
        return;
      }
      case 'openGateFully':
        gates.openUnprotected();
        return;
      case 'holdOutput':
        gates.hold(effect.fromEpoch);
        return;
      case 'closeGate':
        gates.close();
        return;
      case 'renew':
        hands.renew(effect.epoch);
        return;
      case 'pauseGuest':
        hands.onEvent('guest-paused', { reason: effect.why });
        return guest.hold();
      case 'prepareHandOver':
        guest.holdAtNextCapture();
        return;
      case 'resumeGuest':
        return guest.release();
      case 'fence':
        return this.#fence();
      case 'tellHandOver':
        hands.tellHandOver(effect.term, effect.epoch);
        return;
      case 'resync':
      case 'stopResync':
        return; // the state says so, and onChange tells
      default:
        return this.#shared(effect);
    }
  }

  #shared(effect: Parameters<typeof carryOutShared>[0]): void | Promise<void> {
    const { party, term, register, log, hands } = this.#options;
    return carryOutShared(effect, {
      vm: party.vm,
      term,
      register,
      log,
      onEvent: hands.onEvent,
      answer: (event) => void this.#runner.feed(event),
      reject: () => {}, // a backup answers so; a primary's word is its fence
      refuse: (refused) => this.#refuse(refused),
    });
  }

  #refuse({ code, message, hint }: Refused): void {
    this.#refused?.(new RomulusError(code, message, { hint }));
  }

  async #fence(): Promise<void> {
    const { gates, guest, log, party } = this.#options;
    gates.discard();
    try {
      await guest.fence();
    } catch (thrown) {
      // The gate is shut, so nothing of it is seen; its memory of being primary must go in any case.
      this.#unfenced = true;
      log.fatal({ err: thrown, vm: party.vm }, 'cannot stop a fenced guest: stop it by hand');
    }
  }

  /** Visible, and safe: the gate is shut, and without ticks nothing opens it again. */
  #onFailed(thrown: unknown): void {
    this.stop();
    this.#options.gates.close();
    this.#failure = asRomulusError(thrown);
    this.#options.log.fatal({ err: thrown, vm: this.#options.party.vm }, 'protection stopped');
    this.#options.hands.onChange(this.state, this.state);
  }
}
