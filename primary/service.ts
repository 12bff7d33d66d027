/** One session with the backup: agrees on where to go on from, copies what it lacks, and runs epochs while the authority wants them. */

import { RomulusError } from '../shared/errors.ts';
import type { Logger } from '../shared/log.ts';
import type { PrimaryDriver } from './authority-driver.ts';
import { runEpochs } from './epoch/loop.ts';
import type { Pacer } from './epoch/pacer.ts';
import type { GateBank } from './gate-bank.ts';
import type { HeldSource } from './held-source.ts';
import type { Lineage } from './lineage.ts';
import type { Meters } from './meters.ts';
import type { DiskStream } from './output/disk.ts';
import type { Session } from './session.ts';
import type { Wakeups } from './wakeups.ts';

/** What outlives a session. */
export interface Served {
  readonly vm: string;
  readonly source: HeldSource;
  readonly gates: GateBank;
  readonly disk: DiskStream | undefined;
  readonly lineage: Lineage;
  readonly meters: Meters;
  readonly pacer: Pacer;
  readonly wakeups: Wakeups;
  readonly authority: PrimaryDriver;
  readonly log: Logger;
  /** The authority wants the backup brought up to a guest that serves alone. */
  resyncing(): boolean;
  ended(): boolean;
  /** Resolves when anything happened: at the latest with the authority's next tick. */
  change(): Promise<void>;
  /** The backup has what this lineage says it has. */
  onContinued(): void;
  onEvent(kind: string, fields: Record<string, unknown>): void;
}

export class Service {
  readonly session: Session;
  readonly #term: number;
  readonly #served: Served;
  #continued = false;
  #hurried = false;
  /** Sent before the first epoch. */
  #syncBytes = 0;

  constructor(session: Session, term: number, served: Served) {
    this.session = session;
    this.#term = term;
    this.#served = served;
  }

  /** The backup takes epochs on this session. */
  get continued(): boolean {
    return this.#continued && this.session.open;
  }

  /** What was sent for epochs: all but the initial copy. */
  get epochBytes(): number {
    return this.session.sentBytes - this.#syncBytes;
  }

  /** The running epoch ends as soon as it can. */
  hurry(): void {
    this.#hurried = true;
  }

  /** Returns when session, term or protection end; throws why the backup can't be kept. */
  async run(): Promise<void> {
    const { source, authority, resyncing, change } = this.#served;
    let unfit = false;
    while (this.#lasts) {
      const gated = authority.gated && !unfit;
      if (source.held || !(gated || resyncing())) {
        await change();
        continue;
      }
      if (!this.#continued && !(await this.#goOn())) {
        unfit = true;
        await authority.unfit('the backup has not what the next epoch follows');
        continue;
      }
      if (resyncing() && !authority.fresh) await change();
      else await this.#runEpochs();
    }
  }

  get #lasts(): boolean {
    return this.session.open && !this.#served.ended() && this.#served.authority.state.term === this.#term;
  }

  /** False if the backup would need a full copy, which a guest whose output is held can't wait for. */
  async #goOn(): Promise<boolean> {
    const { lineage, resyncing, log, vm } = this.#served;
    if (await lineage.resume(this.session, this.#term))
      log.info({ vm, committed: this.session.welcome.committed }, 'resuming lineage');
    else if (resyncing()) await this.#sync();
    else return false;
    this.#continued = true;
    this.#served.onContinued();
    return true;
  }

  async #sync(): Promise<void> {
    const { gates, authority, lineage, resyncing } = this.#served;
    // Permits of the old lineage must not let out what the new one holds under lower numbers.
    gates.voidPermits();
    const running = () => {
      authority.moved();
      return this.session.open && !this.#served.ended() && resyncing();
    };
    authority.moved();
    try {
      await lineage.sync(this.session, running);
    } finally {
      this.#syncBytes = this.session.sentBytes; // also of a copy that came to no end: none of it was for an epoch
    }
    const { round, sentBytes } = lineage.progress ?? { round: 0, sentBytes: 0 };
    this.#served.onEvent('synced', { rounds: round, sentBytes });
  }

  async #runEpochs(): Promise<void> {
    const { source, gates, disk, lineage, meters, pacer, wakeups, authority, resyncing } = this.#served;
    const { capture } = lineage;
    if (capture === undefined) throw new RomulusError('INTERNAL', 'no capture after sync');
    await runEpochs({
      capture,
      session: this.session,
      window: lineage.window,
      meters,
      gates: [gates],
      disk,
      term: this.#term,
      pacer,
      signal: wakeups.signal,
      onWake: (wake) => wakeups.onEpochWait(wake),
      onEpoch: (fields) => this.#served.onEvent('epoch', fields),
      onBroken: () => {
        lineage.drop();
        void authority.unfit('a capture failed half-way');
      },
      running: () => this.#lasts && !source.held && (authority.gated || (resyncing() && authority.fresh)),
      hurried: () => this.#hurried,
      onCaptured: () => {
        this.#hurried = false;
      },
    });
  }
}
