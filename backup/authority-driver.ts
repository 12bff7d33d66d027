/** The backup's authority at work: feeds the machine what comes from primary, witness and operator, and does what it decides. */

import { engine } from '../native/index.ts';
import type { Image, Party } from '../shared/control/authority.ts';
import { stepBackup } from '../shared/control/authority-backup.ts';
import {
  type BackupEffect,
  type BackupEvent,
  type BackupState,
  type FailoverOrder,
  startBackup,
} from '../shared/control/backup-state.ts';
import { carryOutShared, type Refused } from '../shared/control/effects.ts';
import { fairTick } from '../shared/control/fair-tick.ts';
import type { Policy } from '../shared/control/policy.ts';
import type { RegisterState, WitnessRegister } from '../shared/control/register.ts';
import { Runner } from '../shared/control/runner.ts';
import type { TermFile } from '../shared/control/terms.ts';
import { resetByMs } from '../shared/control/watchdog.ts';
import { asRomulusError, RomulusError } from '../shared/errors.ts';
import type { Logger } from '../shared/log.ts';
import type { Epoch } from '../shared/vm.ts';
import type { Ack, Beat, HandOver } from '../shared/wire/messages.ts';
import { awaitWatchdog, type FenceProof } from './fence.ts';

const TICK_MS = 25;
/** A power switch that did not answer may answer the next time; an operator may vouch meanwhile. */
const FENCE_RETRY_MS = 5000;

export interface Promotion {
  term: number;
  epoch: Epoch;
  acceptDataLoss: boolean;
  /** When the promotion was asked for or silence began to count, and what of the time since was waiting. */
  decidedMs: number;
  register: RegisterState | undefined;
}

export interface BackupHands {
  /** To the primary's present session, if there is one. */
  ack(ack: Ack): void;
  answer(beat: Beat): void;
  reject(term: number): void;
  /** Runs the guest from what is committed. A throw ends this authority: the image may have run. */
  promote(promotion: Promotion): Promise<void>;
  /** undefined: no fence command is configured. */
  proveFenced: (() => Promise<FenceProof>) | undefined;
  onChange(before: BackupState, after: BackupState): void;
  onEvent(kind: string, fields: Record<string, unknown>): void;
}

export interface BackupDriverOptions {
  party: Party;
  policy: Policy;
  term: TermFile;
  image: Image;
  register: WitnessRegister | undefined;
  /** The primary's host is reset by its watchdog within so long of not being fed; a command proves its death sooner. */
  watchdogMs?: number | undefined;
  log: Logger;
  hands: BackupHands;
}

/** What the primary said to have been sent when, which goes back in the answer. */
interface Sent {
  sentMs: number;
}

export class BackupDriver {
  readonly #options: BackupDriverOptions;
  readonly #runner: Runner<BackupState, BackupEvent, BackupEffect, Sent>;
  readonly #endTicks: () => void;
  #refused: ((refused: RomulusError) => void) | undefined;
  /** Of the newest commit. */
  #committedSent: Sent | undefined;
  #orderedMs: number | undefined;
  #failure: RomulusError | undefined;

  constructor(options: BackupDriverOptions) {
    this.#options = options;
    const { party, policy, term, image } = options;
    const nowMs = engine().bootTimeMs();
    this.#runner = new Runner({
      state: startBackup(party, policy, { record: term.current, image, nowMs }),
      step: stepBackup,
      nowMs: () => engine().bootTimeMs(),
      carryOut: (effect, sent) => this.#carryOut(effect, sent),
      onSettled: (before, after) => options.hands.onChange(before, after),
      onFailed: (error) => this.#onFailed(error),
    });
    this.#endTicks = fairTick(TICK_MS, () => void this.#runner.feed({ on: 'tick' }));
    void this.#runner.feed({ on: 'tick' });
  }

  stop(): void {
    this.#endTicks();
    this.#runner.stop();
  }

  get state(): BackupState {
    return this.#runner.settled;
  }

  get failure(): RomulusError | undefined {
    return this.#failure;
  }

  /** True if the hello's sender is the primary this node stands by for, in that term; its own newer term is saved by then. */
  async hello(term: number): Promise<boolean> {
    const effects = await this.#runner.feed({ on: 'heard', term });
    return effects.some((effect) => effect.do === 'answer');
  }

  /** Anything the primary sent; only a beat is answered, and only by a node that stands by. */
  heard(term: number, sent?: Sent): void {
    void this.#runner.feed({ on: 'heard', term }, sent);
  }

  committed(term: number, epoch: Epoch, sent: Sent): Promise<unknown> {
    this.#committedSent = sent;
    return this.#runner.feed({ on: 'committed', term, epoch }, sent);
  }

  /** True if the image may be overwritten now. */
  async askResync(term: number): Promise<boolean> {
    const effects = await this.#runner.feed({ on: 'resyncAsked', term });
    return effects.some((effect) => effect.do === 'admitResync');
  }

  lost(): void {
    void this.#runner.feed({ on: 'lost' });
  }

  imageLost(reason: string): void {
    void this.#runner.feed({ on: 'imageLost', reason });
  }

  handedOver({ term, epoch }: HandOver): void {
    void this.#runner.feed({ on: 'handOver', term, epoch });
  }

  /** Gives the order; resolves when it was taken, which is not when the guest runs. `onRefused` may come much later. */
  order(order: FailoverOrder, onRefused: (refused: RomulusError) => void): Promise<unknown> {
    this.#refused = onRefused;
    this.#orderedMs = engine().bootTimeMs();
    return this.#runner.feed({ on: 'failover', order });
  }

  #carryOut(effect: BackupEffect, sent: Sent | undefined): void | Promise<void> {
    const { hands } = this.#options;
    switch (effect.do) {
      case 'ack': {
        const { term, epoch, promiseMs } = effect;
        // Without `sent` it was put off until a claim had failed. An early `sentMs` only makes the primary's permit shorter.
        const { sentMs } = sent ?? this.#committedSent ?? {};
        if (sentMs !== undefined) hands.ack({ term, epoch, promiseMs, sentMs });
        return;
      }
      case 'answer':
        if (sent !== undefined) hands.answer({ term: effect.term, sentMs: sent.sentMs });
        return;
      case 'admitResync':
        return; // whoever asked sees it among the effects
      case 'proveFenced':
        this.#proveFenced();
        return;
      case 'promote': {
        const { term, epoch, acceptDataLoss } = effect;
        const { heardMs, witness } = this.#runner.state;
        const decidedMs = this.#orderedMs ?? heardMs + this.#options.policy.promoteAfterMs;
        return hands.promote({ term, epoch, acceptDataLoss, decidedMs, register: witness.register });
      }
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
      reject: hands.reject,
      refuse: (refused) => this.#refuse(refused),
    });
  }

  #refuse({ code, message, hint }: Refused): void {
    this.#orderedMs = undefined;
    this.#refused?.(new RomulusError(code, message, { hint }));
    this.#refused = undefined;
  }

  /** Not awaited: the guest's image is safe meanwhile, and an operator may vouch before the command ends. */
  #proveFenced(): void {
    void this.#fenceProof().then(async ({ proven, detail }) => {
      await this.#runner.feed({ on: 'fenceResult', proven, detail });
      if (proven || this.state.phase !== 'FENCING' || this.#runner.stopped) return;
      setTimeout(() => this.state.phase === 'FENCING' && this.#proveFenced(), FENCE_RETRY_MS).unref();
    });
  }

  async #fenceProof(): Promise<FenceProof> {
    const { hands, watchdogMs } = this.#options;
    if (hands.proveFenced !== undefined) return hands.proveFenced();
    if (watchdogMs === undefined) return { proven: false, detail: 'no fence command is configured' };
    const { policy, heardMs } = this.state;
    return awaitWatchdog(resetByMs(policy, heardMs, watchdogMs), () => engine().bootTimeMs());
  }

  #onFailed(thrown: unknown): void {
    this.stop();
    this.#failure = asRomulusError(thrown);
    this.#options.log.fatal({ err: thrown, vm: this.#options.party.vm }, 'the standby cannot go on');
    this.#refused?.(this.#failure);
    this.#options.hands.onChange(this.state, this.state);
  }
}
