/** One protected VM seen from its primary: attaches, connects, copies, checkpoints, and starts over when it must. */

import { randomUUID } from 'node:crypto';
import type { ConnectionOptions } from 'node:tls';
import type { Endpoint } from '../shared/config/endpoint.ts';
import { asRomulusError, RomulusError } from '../shared/errors.ts';
import type { Logger } from '../shared/log.ts';
import type { VmStatus } from '../shared/status.ts';
import type { ProtectionState, VmSpec } from '../shared/vm.ts';
import { CodecChoice } from '../shared/wire/codec-choice.ts';
import { LinkRate } from '../shared/wire/link-rate.ts';
import { type Ack, Region } from '../shared/wire/messages.ts';
import { Capture } from './epoch/capture.ts';
import { DEFAULT_PAUSE_SHARE } from './epoch/epoch-length.ts';
import { type LoopContext, runEpochs } from './epoch/loop.ts';
import { type OutgoingEpoch, releaseEpoch, sendEpoch } from './epoch/outbox.ts';
import { Pacer } from './epoch/pacer.ts';
import { type Progress, precopy } from './epoch/precopy.ts';
import { EpochWindow } from './epoch/window.ts';
import type { GuestState, Source } from './hypervisor/source.ts';
import { Meters } from './meters.ts';
import type { DiskStream } from './output/disk.ts';
import { heldBy, type OutputGate } from './output/gate.ts';
import { Session } from './session.ts';

const RECONNECT_MIN_MS = 200;
const RECONNECT_MAX_MS = 5000;
/** Encoded bytes that may wait for acknowledgement; beyond, the epoch grows. */
const MAX_IN_FLIGHT_BYTES = 32 * 1024 * 1024;
/** Slabs of 1 MiB the engine may fill before it waits. */
const MAX_SLABS = 32;

export interface ReplicaOptions {
  node: string;
  spec: VmSpec;
  peer: string;
  address: Endpoint;
  tls?: ConnectionOptions;
  epochMs: number;
  /** Lets the pacer choose up to this length; epochMs alone is kept to if not given. */
  epochMaxMs?: number;
  /** What the pacer goes by: epoch-length.ts. */
  pauseShare?: number;
  commitMaxMs?: number;
  /** Share of the guest's memory kept as shadow copy, 0 to 1; all of it if not given. */
  shadowShare?: number;
  windowEpochs: number;
  silenceMs: number;
  threads: number;
  term: number;
  /** One per network device; this replica opens and shuts them, their owner detaches them. */
  gates?: readonly OutputGate[];
  /** The replicated disk, where the guest has one. */
  disk?: DiskStream;
  /** Bits per second of the link to the backup, where known; measured where not. */
  linkBitsPerS?: number;
  log: Logger;
  /** Writes down, durably, that a higher term exists and the guest must not run here. */
  recordFenced(term: number): void;
  onEvent(kind: string, fields: Record<string, unknown>): void;
}

export class Replica {
  readonly #options: ReplicaOptions;
  readonly #source: Source;
  readonly #gates: readonly OutputGate[];
  readonly #window: EpochWindow<OutgoingEpoch>;
  readonly #meters = new Meters();
  readonly #codecs: CodecChoice;
  readonly #pacer: Pacer;
  readonly #stop = new AbortController();
  #capture: Capture | undefined;
  #session: Session | undefined;
  #lineage: string | undefined;
  #progress: Progress | undefined;
  #state: ProtectionState = 'STARTING';
  #reason: RomulusError | undefined;
  #since = new Date();
  #guest: GuestState = 'running';
  /** Sent on this session before its first epoch. */
  #syncBytes = 0;
  #wake: () => void = () => {};
  #done: Promise<void> | undefined;
  #hurried = false;

  constructor(source: Source, options: ReplicaOptions) {
    this.#source = source;
    this.#options = options;
    this.#codecs = new CodecChoice(new LinkRate(options.linkBitsPerS));
    this.#gates = options.gates ?? [];
    this.#pacer = new Pacer({
      minMs: options.epochMs,
      maxMs: Math.max(options.epochMs, options.epochMaxMs ?? options.epochMs),
      pauseShare: options.pauseShare ?? DEFAULT_PAUSE_SHARE,
      ...(options.commitMaxMs !== undefined && { commitMs: options.commitMaxMs }),
      windowEpochs: options.windowEpochs,
    });
    const maxEpochs = Math.min(options.windowEpochs, ...this.#gates.map((gate) => gate.maxEpochs));
    this.#window = new EpochWindow({ maxEpochs, maxBytes: MAX_IN_FLIGHT_BYTES });
  }

  /**
   * Attaches to the guest (starting it if that is allowed), then protects it until stop(). Rejects if the guest cannot be
   * attached to. The output of a `serving` guest leaves until protection begins; one that was protected before may run
   * elsewhere by now, and stays silent until its first acknowledgement.
   */
  async start({
    mayStart = true,
    serving = mayStart,
  }: {
    mayStart?: boolean;
    serving?: boolean;
  } = {}): Promise<void> {
    await this.#source.attach({ mayStart });
    this.#source.onGuestEnd((state) => this.#onGuestEnd(state));
    for (const gate of this.#gates) {
      gate.attach();
      if (serving) gate.openUnprotected();
      gate.onPressure(() => this.#hurry());
    }
    this.#options.disk?.onPressure(() => this.#hurry());
    this.#done = this.#run();
  }

  /** Ends protection. `forget` tells the backup to drop its standby; the guest runs on. */
  async stop({ forget }: { forget: boolean }): Promise<void> {
    const fenced = this.#state === 'FENCED';
    this.#stop.abort();
    this.#wake();
    await this.#done;
    if (forget && this.#session?.open) await this.#session.bye().catch(() => {});
    this.#session?.close();
    await this.#source.detach();
    this.#dropLineage();
    for (const gate of this.#gates) {
      if (forget && !fenced) gate.openUnprotected();
      else gate.close();
    }
    this.#become('ENDED');
  }

  status(): VmStatus {
    const { spec, peer, term, epochMs, windowEpochs, disk } = this.#options;
    const held = heldBy(this.#gates);
    return {
      vm: spec.name,
      role: 'primary',
      state: this.#state,
      ...(this.#reason && { reason: this.#reason.message }),
      ...(this.#reason?.hint && { hint: this.#reason.hint }),
      peer,
      hypervisor: spec.hypervisor,
      tracking: this.#source.tracking,
      term,
      epoch: this.#window.newest,
      ackedEpoch: this.#window.acked,
      epochMs: this.#meters.epochMs || epochMs,
      windowEpochs,
      ...(this.#state === 'SYNCING' && this.#progress && { sync: { ...this.#progress } }),
      ...this.#meters.status(),
      wireBytes: this.#meters.pastWireBytes + this.#epochBytes,
      compression: this.#codecs.status(),
      memoryBytes: { shadow: this.#capture?.shadowBytes ?? 0 },
      guest: this.#guest,
      ...(held && { held }),
      ...(disk && { disk: disk.status() }),
      since: this.#since.toISOString(),
    };
  }

  async #run(): Promise<void> {
    let backoffMs = RECONNECT_MIN_MS;
    while (!this.#ended) {
      try {
        this.#session = await this.#connect();
        backoffMs = RECONNECT_MIN_MS;
        await this.#protect(this.#session);
      } catch (thrown) {
        this.#degrade(asRomulusError(thrown), (thrown as { peerTerm?: number }).peerTerm);
      } finally {
        this.#leaveSession();
      }
      if (this.#ended) break;
      await this.#sleep(backoffMs);
      backoffMs = Math.min(backoffMs * 2, RECONNECT_MAX_MS);
    }
  }

  /** A stop() still has its goodbye to say on this session; in all other cases it is closed here. */
  #leaveSession(): void {
    if (this.#session === undefined || this.#stop.signal.aborted) return;
    // A guest that was shut down needs no standby; one that vanished may be wanted back.
    if (this.#guest === 'shutdown' && this.#session.open) this.#session.bye().catch(() => {});
    else this.#session.close();
    this.#options.disk?.idle();
    this.#meters.pastWireBytes += this.#epochBytes;
    this.#syncBytes = 0;
    this.#session = undefined;
  }

  /** What this session sent for epochs: all but the initial copy. */
  get #epochBytes(): number {
    return (this.#session?.sentBytes ?? 0) - this.#syncBytes;
  }

  get #ended(): boolean {
    return this.#stop.signal.aborted || this.#state === 'FENCED' || this.#state === 'ENDED';
  }

  #connect(): Promise<Session> {
    const { node, spec, peer, address, tls, silenceMs, term } = this.#options;
    // A lineage that was lost is named anew by the sync that follows.
    const lineage = this.#lineage ?? randomUUID();
    const hello = {
      node,
      vm: spec.name,
      term,
      lineage,
      acked: this.#window.acked,
      geometry: this.#source.geometry,
      spec,
    };
    return Session.open(
      { address, peer, silenceMs, hello, codecs: this.#codecs, ...(tls && { tls }) },
      { onAck: (ack) => this.#onAck(ack), onClose: (error, peerTerm) => this.#onClose(error, peerTerm) },
    );
  }

  /** Resumes the lineage where the backup can, copies anew where not, then checkpoints until the session ends. */
  async #protect(session: Session): Promise<void> {
    if (!(await this.#resume(session))) await this.#sync(session);
    const capture = this.#capture;
    if (capture === undefined) throw new RomulusError('INTERNAL', 'no capture after sync');
    const context: LoopContext = {
      capture,
      session,
      window: this.#window,
      meters: this.#meters,
      gates: this.#gates,
      disk: this.#options.disk,
      term: this.#options.term,
      pacer: this.#pacer,
      signal: this.#stop.signal,
      onWake: (wake) => {
        this.#wake = wake;
      },
      onEpoch: (fields) => this.#options.onEvent('epoch', fields),
      onBroken: (error) => {
        this.#dropLineage();
        this.#degrade(error, undefined);
      },
      running: () => session.open && !this.#ended,
      hurried: () => this.#hurried,
      onCaptured: () => {
        this.#hurried = false;
      },
    };
    await runEpochs(context);
  }

  async #resume(session: Session): Promise<boolean> {
    const { lineage, committed } = session.welcome;
    // Nothing committed: parts of the initial copy may have been lost on the way, and nobody counted them.
    if (this.#capture === undefined || lineage !== this.#lineage || committed === 0) return false;
    const plan = this.#window.resumeFrom(committed);
    if (plan === undefined || plan.resend.some((item) => item.checkpoint.spilledChunks > 0)) return false;
    for (const item of plan.freed) releaseEpoch(this.#capture, item);
    this.#options.log.info(
      { vm: this.#options.spec.name, committed, resend: plan.resend.length },
      'resuming lineage',
    );
    for (const item of plan.resend) await sendEpoch(session, this.#options.term, item);
    if (plan.resend.length === 0) this.#become('PROTECTED');
    return true;
  }

  async #sync(session: Session): Promise<void> {
    this.#dropLineage();
    this.#become('SYNCING');
    this.#lineage = randomUUID();
    const { disk, threads, shadowShare } = this.#options;
    const ready = await session.beginSync(this.#lineage, disk?.offer());
    this.#capture = new Capture(this.#source, {
      threads,
      maxSlabs: MAX_SLABS,
      ...(shadowShare !== undefined && { shadowShare }),
    });
    // The new shadow copy knows nothing, so every page is dirty, whatever the hypervisor reported before.
    this.#capture.dirty.setAll();
    this.#progress = { percent: 0, sentBytes: 0, round: 0 };
    const running = () => session.open && !this.#stop.signal.aborted;
    if (disk) {
      this.#progress.disk = { percent: 0, sentBytes: 0 };
      await disk.copy(
        ready,
        (payload) => session.sendChunk(0, Region.disk, payload),
        this.#progress.disk,
        running,
      );
    }
    await precopy(this.#capture, session, this.#progress, running);
    this.#syncBytes = session.sentBytes;
    this.#options.onEvent('synced', { rounds: this.#progress.round, sentBytes: this.#progress.sentBytes });
  }

  #onAck(ack: Ack): void {
    const now = performance.now();
    const capture = this.#capture;
    for (const item of this.#window.ack(ack.epoch)) {
      if (capture) releaseEpoch(capture, item);
      this.#letOut(item, ack.promiseMs);
      this.#meters.commit(now - item.capturedAtMs, now);
      this.#options.onEvent('acked', { epoch: item.epoch, commitMs: now - item.capturedAtMs });
      this.#pacer.committed(now - item.capturedAtMs);
    }
    this.#options.disk?.commit(ack.epoch);
    if (this.#state === 'SYNCING' || this.#state === 'DEGRADED') this.#become('PROTECTED');
    this.#wake();
  }

  /** The backup has this epoch, and does not resume the guest before its promise ends: so much time its output has. */
  #letOut({ epoch, commitSentMs }: OutgoingEpoch, promiseMs: number): void {
    if (commitSentMs === undefined || this.#ended) return;
    for (const gate of this.#gates) gate.release(epoch, commitSentMs + promiseMs);
  }

  /** A gate is half full: the running epoch ends now. */
  #hurry(): void {
    this.#hurried = true;
    this.#wake();
  }

  #onClose(error: RomulusError, peerTerm: number | undefined): void {
    if (!this.#ended) this.#degrade(error, peerTerm);
    this.#wake();
  }

  #onGuestEnd(state: GuestState): void {
    this.#guest = state;
    const reason = new RomulusError('HV_GUEST_GONE', `the guest ended by itself: ${state}`, {
      hint: `start it again, then: romulus protect ${this.#options.spec.name} --to ${this.#options.peer}`,
    });
    this.#become('ENDED', reason);
    this.#wake();
  }

  #degrade(error: RomulusError, peerTerm: number | undefined): void {
    if (this.#ended) return;
    if (error.code === 'TERM_STALE') {
      this.#fence(error, peerTerm ?? this.#options.term + 1);
      return;
    }
    this.#become('DEGRADED', error);
  }

  /** A higher term exists (safety rule 1): this copy of the guest must never run again. */
  #fence(error: RomulusError, term: number): void {
    this.#become('FENCED', error);
    for (const gate of this.#gates) gate.discard();
    this.#options.disk?.shut();
    this.#options.recordFenced(term);
    this.#source.fence().catch((thrown) => {
      this.#options.log.fatal(
        { err: thrown, vm: this.#options.spec.name },
        'cannot stop a fenced guest: stop it by hand',
      );
    });
  }

  #become(state: ProtectionState, reason?: RomulusError): void {
    this.#reason = reason;
    if (state === this.#state) return;
    this.#state = state;
    this.#since = new Date();
    this.#options.onEvent('state', { state, ...(reason && { reason: reason.message, code: reason.code }) });
  }

  #dropLineage(): void {
    this.#options.disk?.giveUp();
    this.#window.clear();
    this.#capture?.close();
    this.#capture = undefined;
    this.#lineage = undefined;
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
