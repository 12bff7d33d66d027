/** One protected VM seen from its primary: attaches, connects, is of service to its authority, and starts over when it must. */

import { engine } from '../native/index.ts';
import { type Policy, policyOf } from '../shared/control/policy.ts';
import type { PrimaryState } from '../shared/control/primary-state.ts';
import { mayLive } from '../shared/control/watchdog.ts';
import { asRomulusError, RomulusError } from '../shared/errors.ts';
import { ShownState } from '../shared/shown-state.ts';
import type { VmStatus } from '../shared/status.ts';
import { CodecChoice } from '../shared/wire/codec-choice.ts';
import { LinkRate } from '../shared/wire/link-rate.ts';
import type { Ack } from '../shared/wire/messages.ts';
import { PrimaryDriver } from './authority-driver.ts';
import type { Pacer } from './epoch/pacer.ts';
import { GateBank } from './gate-bank.ts';
import { HeldSource } from './held-source.ts';
import type { GuestState, Source } from './hypervisor/source.ts';
import { Lineage } from './lineage.ts';
import { Meters } from './meters.ts';
import { lineageLimitsOf, pacerOf, type ReplicaOptions, type StartOptions } from './replica-options.ts';
import { viewOf } from './replica-status.ts';
import { Service } from './service.ts';
import { Session } from './session.ts';
import { Wakeups } from './wakeups.ts';

const RECONNECT_MIN_MS = 100;
const RECONNECT_MAX_MS = 5000;
/** Longest wait for the register to say that the VM is no longer protected. */
const LEAVE_TIMEOUT_MS = 10_000;

export class Replica {
  readonly #options: ReplicaOptions;
  readonly #source: HeldSource;
  readonly #gates: GateBank;
  readonly #policy: Policy;
  readonly #lineage: Lineage;
  readonly #meters = new Meters();
  readonly #codecs: CodecChoice;
  readonly #pacer: Pacer;
  readonly #wakeups = new Wakeups();
  #driver: PrimaryDriver | undefined;
  #service: Service | undefined;
  #lost: RomulusError | undefined;
  #guestEnd: RomulusError | undefined;
  #refused: RomulusError | undefined;
  readonly #shown: ShownState;
  #guest: GuestState = 'running';
  #done: Promise<void> = Promise.resolve();
  #stopped = false;
  /** Protection is being ended: no way leads back to it. */
  #ending = false;

  constructor(source: Source, options: ReplicaOptions) {
    this.#source = new HeldSource(source);
    this.#options = options;
    this.#shown = new ShownState(options.onEvent);
    this.#codecs = new CodecChoice(new LinkRate(options.linkBitsPerS), options.threads);
    this.#gates = new GateBank(options.gates ?? [], (epoch) => this.#driver?.joinAt(epoch));
    this.#policy = policyOf(options.protection, {
      witness: options.register !== undefined,
      fence: options.fence === true,
    });
    this.#pacer = pacerOf(options);
    this.#lineage = new Lineage(this.#source, lineageLimitsOf(options, this.#gates.maxEpochs));
  }

  /**
   * Attaches to the guest (starting it if that is allowed), then protects it until stop(). Rejects if the guest cannot be
   * attached to. Its output leaves as its authority decides: the guest of a restarted agent may run elsewhere by now.
   */
  async start({ mayStart = true, origin = { as: 'new' } }: StartOptions = {}): Promise<void> {
    await this.#source.attach({ mayStart });
    this.#source.onGuestEnd((state) => this.#onGuestEnd(state));
    this.#gates.attach();
    this.#gates.onPressure(() => this.#hurry());
    this.#options.disk?.onPressure(() => this.#hurry());
    const { node, peer, spec, term, register, log, onEvent } = this.#options;
    this.#driver = new PrimaryDriver(
      {
        party: { vm: spec.name, self: node, peer },
        policy: this.#policy,
        term,
        register,
        gates: this.#gates,
        guest: this.#source,
        log,
        hands: {
          renew: (epoch) => this.#service?.session.renew(this.#authority.state.term, epoch).catch(() => {}), // 'close' tells
          tellHandOver: (handedTerm, epoch) =>
            this.#service?.session.handOver(handedTerm, epoch).catch(() => {}), // B asks the witness too
          onChange: (before, after) => this.#onChange(before, after),
          onEvent,
        },
      },
      origin,
    );
    this.#driver.start();
    this.#done = this.#run();
  }

  /** For whoever gives orders about this VM; valid from start() on. */
  get authority(): PrimaryDriver {
    return this.#authority;
  }

  get #authority(): PrimaryDriver {
    if (this.#driver === undefined) throw new RomulusError('INTERNAL', 'the replica was not started');
    return this.#driver;
  }

  get peer(): string {
    return this.#options.peer;
  }

  /**
   * Ends protection. `forget` tells witness and backup that it is over, and the guest runs on; throws WITNESS_UNREACHABLE,
   * with nothing changed, if a promotion could still be under way. Without it, the next agent goes on from here.
   */
  async stop({ forget }: { forget: boolean }): Promise<void> {
    if (this.#stopped) return;
    const fenced = this.#driver?.phase === 'FENCED';
    if (forget && !fenced) await this.#leaveProtection();
    this.#wakeups.stop();
    await this.#done;
    this.#driver?.stop();
    const session = this.#service?.session;
    if (forget && session?.open) await session.bye().catch(() => {});
    session?.close();
    if (forget && !fenced && this.#guestEnd === undefined) await this.#source.release();
    await this.#source.detach();
    this.#lineage.drop();
    if (forget && !fenced) this.#gates.openUnprotected();
    else this.#gates.close();
    this.#stopped = true;
    this.#show();
  }

  /** Whether this VM counts on the host's watchdog, and may live here by what its authority knows. */
  watched(): { counts: boolean; mayLive: boolean } {
    const counts = this.#options.watchdogMs !== undefined && this.#policy.witness && !this.#stopped;
    const driver = this.#driver;
    const sound = driver !== undefined && driver.failure === undefined && !driver.unfenced;
    return { counts, mayLive: sound && mayLive(driver.state, engine().bootTimeMs()) };
  }

  status(): VmStatus {
    const { spec, peer, epochMs, windowEpochs, term, disk } = this.#options;
    this.#show();
    const held = this.#gates.heldIfAny();
    const { progress, window } = this.#lineage;
    return {
      vm: spec.name,
      role: 'primary',
      ...this.#shown.status(),
      peer,
      hypervisor: spec.hypervisor,
      tracking: this.#source.tracking,
      term: this.#driver?.state.term ?? term.current.term,
      ...(this.#driver && { authority: this.#driver.phase }),
      failover: this.#policy.failover,
      ...(!this.#policy.witness && { manualBecause: 'no witness is configured' }),
      onBackupLoss: this.#policy.onBackupLoss,
      epoch: window.newest,
      ackedEpoch: window.acked,
      epochMs: this.#meters.epochMs || epochMs,
      windowEpochs,
      ...(this.#shown.state === 'SYNCING' && progress && { sync: { ...progress } }),
      ...this.#meters.status(),
      wireBytes: this.#meters.pastWireBytes + (this.#service?.epochBytes ?? 0),
      compression: this.#codecs.status(this.#lineage.indexBytes),
      memoryBytes: { shadow: this.#lineage.shadowBytes },
      guest: this.#source.held ? 'paused' : this.#guest,
      ...(held && { held }),
      ...(disk && { disk: disk.status() }),
    };
  }

  /** The register must not say PROTECTED any more when the gate opens, or the backup could promote itself behind it. */
  async #leaveProtection(): Promise<void> {
    this.#ending = true;
    const driver = this.#driver;
    if (driver === undefined || !this.#policy.witness) return;
    const settled = () => ['SOLO', 'ENDED', 'FENCED'].includes(driver.phase);
    if (driver.gated) await driver.unfit('protection is being ended');
    const deadline = performance.now() + LEAVE_TIMEOUT_MS;
    while (!settled() && performance.now() < deadline && driver.failure === undefined) await this.#change();
    if (settled() || driver.phase === 'STARTING') return;
    this.#ending = false;
    throw new RomulusError(
      'WITNESS_UNREACHABLE',
      'the witness does not answer, so protection cannot be ended safely',
      {
        hint: 'check the witness, then try again: romulus doctor',
      },
    );
  }

  async #run(): Promise<void> {
    let backoffMs = RECONNECT_MIN_MS;
    while (!this.#ended) {
      // Silent until the register has said whose VM this is.
      while (this.#authority.phase === 'STARTING' && !this.#ended) await this.#change();
      if (this.#ended) break;
      try {
        const term = this.#authority.state.term;
        const session = await this.#connect(term);
        this.#service = this.#serviceOn(session, term);
        backoffMs = RECONNECT_MIN_MS;
        this.#authority.heard({ term, sentMs: session.helloSentMs });
        await this.#service.run();
      } catch (thrown) {
        const error = asRomulusError(thrown);
        if (this.#hopeless(error)) this.#refused = error;
        this.#lose(error, (thrown as { peerTerm?: number }).peerTerm);
      } finally {
        this.#leaveSession();
      }
      if (this.#ended) break;
      await this.#wakeups.sleep(backoffMs);
      backoffMs = Math.min(backoffMs * 2, RECONNECT_MAX_MS);
    }
  }

  /** A stop() still has its goodbye to say on this session; in all other cases it is closed here. */
  #leaveSession(): void {
    const service = this.#service;
    if (service === undefined || this.#wakeups.stopped) return;
    // A guest that was shut down needs no standby; one that vanished may be wanted back.
    if (this.#guest === 'shutdown' && service.session.open) service.session.bye().catch(() => {});
    else service.session.close();
    this.#options.disk?.idle();
    this.#meters.pastWireBytes += service.epochBytes;
    this.#service = undefined;
    this.#show();
  }

  get #ended(): boolean {
    const phase = this.#driver?.phase;
    return (
      this.#wakeups.stopped ||
      this.#refused !== undefined ||
      phase === 'FENCED' ||
      phase === 'ENDED' ||
      this.#driver?.failure !== undefined
    );
  }

  /** The backup cannot run this guest, and never could: trying again changes nothing, and ending it takes nothing away. */
  #hopeless(error: RomulusError): boolean {
    const { phase, joinedMs, quiet } = this.#authority.state;
    const never = phase === 'SOLO' && joinedMs === Number.NEGATIVE_INFINITY && !quiet;
    return error.code === 'HV_UNSUPPORTED' && this.#service === undefined && never;
  }

  #connect(term: number): Promise<Session> {
    const { node, spec, peer, address, tls, protection, watchdogMs } = this.#options;
    const hello = {
      node,
      vm: spec.name,
      term,
      ...this.#lineage.claim,
      geometry: this.#source.geometry,
      spec,
      protection: {
        ...protection,
        witness: this.#policy.witness,
        ...(watchdogMs !== undefined && { watchdogMs }),
      },
    };
    const { silenceMs } = protection;
    return Session.open(
      { address, peer, silenceMs, hello, codecs: this.#codecs, ...(tls && { tls }) },
      {
        onAck: (ack) => this.#onAck(ack),
        onAnswer: (answer) => this.#authority.heard(answer),
        onClose: (error, peerTerm) => this.#onClose(error, peerTerm),
      },
    );
  }

  #serviceOn(session: Session, term: number): Service {
    const { spec, disk, log, onEvent } = this.#options;
    return new Service(session, term, {
      vm: spec.name,
      source: this.#source,
      gates: this.#gates,
      disk,
      lineage: this.#lineage,
      meters: this.#meters,
      pacer: this.#pacer,
      wakeups: this.#wakeups,
      authority: this.#authority,
      log,
      resyncing: () => this.#resyncing,
      ended: () => this.#ended,
      change: () => this.#change(),
      onContinued: () => {
        this.#lost = undefined;
        this.#show();
      },
      onEvent,
    });
  }

  get #resyncing(): boolean {
    const { phase, resyncing } = this.#authority.state;
    return phase === 'SOLO' && resyncing && !this.#ending;
  }

  #onAck(ack: Ack): void {
    const now = performance.now();
    for (const item of this.#lineage.ack(ack.epoch)) {
      const commitMs = now - item.capturedAtMs;
      this.#meters.commit(commitMs, now);
      this.#options.onEvent('acked', { epoch: item.epoch, commitMs });
      this.#pacer.committed(commitMs);
    }
    this.#options.disk?.commit(ack.epoch);
    this.#authority.acknowledged(ack);
    this.#finishHandOver();
    this.#wakeups.epoch();
  }

  /** A switchover waits for nothing but the acknowledgement of the last epoch. */
  #finishHandOver(): void {
    const { phase, paused } = this.#authority.state;
    const { window } = this.#lineage;
    if (phase === 'PROTECTED' && paused && this.#source.still && window.size === 0)
      this.#authority.handOver(window.newest, true);
  }

  /** A gate is half full: the running epoch ends now. */
  #hurry(): void {
    this.#service?.hurry();
    this.#wakeups.epoch();
  }

  #onClose(error: RomulusError, peerTerm: number | undefined): void {
    if (!this.#ended) this.#lose(error, peerTerm);
    this.#wakeups.all();
  }

  #lose(error: RomulusError, peerTerm: number | undefined): void {
    const { spec, peer, log } = this.#options;
    if (this.#lost?.message !== error.message)
      log.warn({ vm: spec.name, peer, code: error.code }, `without its backup: ${error.message}`);
    this.#lost = error;
    if (error.code === 'TERM_STALE' && peerTerm !== undefined) this.#authority.rejected(peerTerm);
    this.#show();
  }

  /** What ends by itself is no failure of the host; the config says what becomes of it. */
  #onGuestEnd(state: GuestState): void {
    const { spec, peer, onGuestEnd } = this.#options;
    this.#guest = state;
    const policy = state === 'panicked' || state === 'gone' ? onGuestEnd?.[state] : 'end';
    const hint = `start it again, then: romulus protect ${spec.name} --to ${peer}`;
    this.#guestEnd = new RomulusError('HV_GUEST_GONE', `the guest ended by itself: ${state}`, { hint });
    const { phase } = this.#authority;
    if (policy === 'failover' && phase === 'PROTECTED')
      this.#authority.handOver(this.#lineage.window.acked, false);
    else void this.#authority.guestEnded(state);
    this.#wakeups.all();
  }

  #onChange(before: PrimaryState, after: PrimaryState): void {
    if (before.phase !== after.phase) {
      this.#options.onEvent('authority', { phase: after.phase, term: after.term });
      if (after.phase === 'FENCED') this.#options.disk?.shut();
      // A guest that serves alone is not slowed for want of somebody who takes its epochs.
      if (after.phase === 'SOLO') this.#options.disk?.idle();
    }
    this.#show();
    this.#wakeups.all();
  }

  #view(): ReturnType<typeof viewOf> {
    const driver = this.#driver;
    if (driver === undefined) return { state: this.#stopped ? 'ENDED' : 'STARTING', reason: undefined };
    return viewOf({
      authority: driver.state,
      failure: driver.failure,
      concern: driver.concern,
      connected: this.#service?.session.open === true && (this.#service.continued || this.#resyncing),
      lost: this.#lost,
      guestEnd: this.#guestEnd,
      refused: this.#refused,
      stopped: this.#stopped,
    });
  }

  /** Tells of a change of what `status` shows. */
  #show(): void {
    const { state, reason } = this.#view();
    this.#shown.become(state, reason);
  }

  /** Resolves when anything happened: at the latest with the authority's next tick. */
  #change(): Promise<void> {
    return this.#driver?.failure === undefined ? this.#wakeups.change() : Promise.resolve();
  }
}
