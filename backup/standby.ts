/** One VM seen from its backup: accepts the primary's session, keeps image and hypervisor ready, and promotes when its authority says so. */

import { mkdir } from 'node:fs/promises';
import { policyOf } from '../shared/control/policy.ts';
import { readRecord, removeRecord, writeRecord } from '../shared/durable-file.ts';
import { asRomulusError, RomulusError } from '../shared/errors.ts';
import { ShownState } from '../shared/shown-state.ts';
import type { FailoverRequest, FailoverResult, VmStatus } from '../shared/status.ts';
import type { Epoch, VmSpec } from '../shared/vm.ts';
import type { DiskAnswer } from '../shared/wire/disk-messages.ts';
import type { Beat, HandOver, Hello, Protection, Renew, Sync } from '../shared/wire/messages.ts';
import { BackupDriver, type Promotion } from './authority-driver.ts';
import { StandbyDisk } from './disk.ts';
import { AwaitedFailover, checkOrder, orderOf } from './failover-order.ts';
import { runFence } from './fence.ts';
import { StandbyImage } from './image/standby-image.ts';
import { promote, takeUpPromoted } from './promotion.ts';
import { ReadyGuest } from './ready-guest.ts';
import type { Receiver } from './receiver.ts';
import {
  claimUnderWay,
  noDiskHere,
  notActive,
  notPromotable,
  noWitnessHere,
  promotedGuestEnded,
  staleTerm,
} from './refusals.ts';
import type { StandbyOptions } from './standby-options.ts';
import { type StandbyRecord, sameGeometry, sameParty, standbyRecordPath } from './standby-record.ts';

/** What a primary must know of this side's disk to send only what differs. */
export interface DiskState {
  answer: DiskAnswer;
  dirtyBits: Buffer;
}

export class Standby {
  readonly image: StandbyImage;
  readonly #options: StandbyOptions;
  readonly #recordPath: string;
  readonly #guest: ReadyGuest;
  #record: StandbyRecord | undefined;
  #driver: BackupDriver | undefined;
  #receiver: Receiver | undefined;
  readonly #shown: ShownState;
  #activeEpoch: Epoch = 0;
  readonly #awaited = new AwaitedFailover();

  constructor(options: StandbyOptions) {
    this.#options = options;
    this.#shown = new ShownState(options.onEvent);
    this.#recordPath = standbyRecordPath(options.dataDir);
    const { imageDir, threads, durability, vm, runDir, overrides, log } = options;
    this.image = new StandbyImage({ dir: imageDir, threads, durability });
    this.#guest = new ReadyGuest({
      vm,
      runDir,
      image: this.image,
      overrides,
      log,
      onFailed: (thrown) => this.degraded(asRomulusError(thrown)),
      mayMend: () => this.#shown.state === 'STANDBY' && this.#driver?.state.phase === 'STANDBY',
    });
  }

  /** Takes up what a previous run of the agent left: image at a committed epoch, standby hypervisor, or a promoted guest. */
  async recover(): Promise<void> {
    this.#record = readRecord<StandbyRecord>(this.#recordPath);
    if (this.#record === undefined) return;
    const { spec } = this.#record;
    const local = this.#guest.localSpec(spec);
    this.#guest.use(await this.#options.openTarget(local));
    this.#openDisk(local);
    if (this.promoted) {
      this.#activeEpoch = this.#options.term.current.epoch;
      const found = await takeUpPromoted(this.image, this.#guest, spec);
      if (found === 'running') return this.#shown.become('ACTIVE');
      return this.#shown.become('ENDED', promotedGuestEnded(this.#options.runDir));
    }
    try {
      await this.image.recover();
    } catch (thrown) {
      this.image.disk?.forget();
      this.#startAuthority(this.#record);
      this.#shown.become('DEGRADED', asRomulusError(thrown));
      return;
    }
    this.#startAuthority(this.#record);
    if (this.image.promotable) this.#guest.prepare(spec);
    this.#shown.become(this.image.promotable ? 'STANDBY' : 'SYNCING');
  }

  get peer(): string {
    return this.#record?.peer ?? '';
  }

  get term(): number {
    return this.#options.term.current.term;
  }

  get promoted(): boolean {
    return this.#options.term.current.role === 'primary';
  }

  /** Protection as the primary's config has it; undefined before its first hello. */
  get protection(): Protection | undefined {
    return this.#record?.protection;
  }

  /** Silence after which the primary counts as lost. */
  get silenceMs(): number | undefined {
    return this.#record?.protection.silenceMs;
  }

  /** Milliseconds since the primary was heard, or undefined when no session is open. */
  get primarySilentMs(): number | undefined {
    return this.#receiver?.open ? this.#receiver.silentMs : undefined;
  }

  /** Throws what must be answered to this hello; afterwards receiver and image belong to it. */
  async accept(hello: Hello, receiver: Receiver): Promise<void> {
    const { node, protection, spec: told, geometry } = hello;
    if (protection.witness && this.#options.register === undefined) {
      throw noWitnessHere(node, hello.vm);
    }
    const spec = this.#guest.localSpec(told);
    const target = await this.#options.openTarget(spec);
    await target.check(spec, geometry);
    const known = this.#record;
    const record: StandbyRecord = { peer: node, spec: told, geometry, protection };
    if (this.promoted && hello.term > this.term) await this.#yieldGuest();
    if (this.#driver === undefined || !sameParty(known, record)) this.#startAuthority(record);
    if (!(await this.#admit(hello.term))) throw this.#refusal(hello.term);
    const before = this.#receiver;
    this.#receiver = receiver;
    before?.close();
    await before?.settled();
    if (known !== undefined && !sameGeometry(known.geometry, geometry)) await this.#guest.discard();
    this.#guest.use(target);
    await mkdir(this.#options.dataDir, { recursive: true, mode: 0o700 });
    this.#record = record;
    if (this.#shown.state === 'STARTING' || this.#shown.state === 'ACTIVE') this.#shown.become('SYNCING');
    await writeRecord(this.#recordPath, record);
  }

  /**
   * Empties the image for a new lineage, if no claim to the VM is being made. The hypervisor that mapped the old file is
   * ended first. Of a replicated disk, what the primary must know to send only what differs.
   */
  async beginSync({ lineage, disk }: Sync, term: number): Promise<DiskState | undefined> {
    const record = this.#record;
    if (record === undefined) throw new RomulusError('WIRE_ORDER', 'sync came before hello');
    if ((await this.#driver?.askResync(term)) !== true) throw this.#refusal(term);
    this.#shown.become('SYNCING');
    await this.#guest.stop();
    this.image.create(lineage, record.geometry.ramBytes);
    if (disk) this.#openDisk(this.#guest.localSpec(record.spec), disk.sizeBytes);
    const answer = disk && this.image.disk?.beginSync(disk);
    if (disk && !answer) throw noDiskHere(this.#options.vm);
    this.#guest.prepare(record.spec);
    return answer;
  }

  /** Resolves when the standby hypervisor is ready; rejects with why it is not. */
  ready(): Promise<void> {
    return this.#guest.ready();
  }

  /** COMMIT(epoch) is recorded; it is acknowledged if the authority says so. */
  committed(term: number, epoch: Epoch, sentMs: number): void {
    void this.#driver?.committed(term, epoch, { sentMs });
    if (this.#shown.state !== 'STANDBY' && this.#driver?.state.phase === 'STANDBY')
      this.#shown.become('STANDBY');
    this.#options.onEvent('commit', { epoch });
  }

  beat({ term, sentMs }: Beat): void {
    this.#driver?.heard(term, { sentMs });
  }

  /** Part of an epoch came: a sign of life. */
  heard(term: number): void {
    this.#driver?.heard(term);
  }

  renew({ term, epoch, sentMs }: Renew): void {
    if (this.image.promotable && this.image.committed >= epoch)
      void this.#driver?.committed(term, this.image.committed, { sentMs });
  }

  handedOver(handOver: HandOver): void {
    this.#driver?.handedOver(handOver);
  }

  /** The session ended; shown until the primary comes back. */
  lost(receiver: Receiver, error: RomulusError): void {
    if (this.#receiver !== receiver) return;
    this.#driver?.lost();
    this.degraded(error);
  }

  /** The session ended, or the image was found wrong. */
  degraded(error: RomulusError): void {
    if (this.promoted || this.#shown.state === 'ENDED') return;
    if (!this.image.promotable && error.code !== 'PEER_UNREACHABLE') this.#driver?.imageLost(error.message);
    this.#options.onEvent('lost', error.toJSON());
    const sound = this.image.promotable && error.code === 'PEER_UNREACHABLE';
    this.#shown.become(sound ? 'STANDBY' : 'DEGRADED', error);
  }

  /** The primary ended protection on purpose: nothing is kept but the term. */
  async drop(): Promise<void> {
    this.#driver?.stop();
    this.#receiver?.close();
    await this.#guest.discard();
    this.image.destroy();
    await removeRecord(this.#recordPath);
    this.#shown.become('ENDED');
  }

  /**
   * The failover an operator asks for, by whatever way. Throws PRIMARY_ALIVE while the primary is heard, FENCE_UNPROVEN,
   * IMAGE_NOT_PROMOTABLE, TERM_STALE, WITNESS_UNREACHABLE. A second call while one is under way joins it.
   */
  async failover(request: FailoverRequest): Promise<FailoverResult> {
    if (this.#awaited.promise) return this.#awaited.promise;
    const { vm, log, onEvent } = this.#options;
    const driver = this.#driver;
    checkOrder(vm, request, this.#shown.state === 'ACTIVE');
    if (driver === undefined || !this.image.promotable) throw notPromotable(vm, this.#shown.reason?.message);
    const order = orderOf(request, driver.state.term);
    log.warn({ vm, order, audit: true }, 'an operator asks for a failover');
    onEvent('failover-ordered', { ...order });
    const done = this.#awaited.begin();
    void driver.order(order, (refused) => this.#awaited.failed(refused));
    return done;
  }

  async #promote(promotion: Promotion): Promise<void> {
    const { vm, log, onEvent, onPromoted } = this.#options;
    this.#shown.become('PROMOTING');
    const receiver = this.#receiver;
    this.#receiver = undefined;
    try {
      const result = await promote({ vm, promotion, receiver, image: this.image, guest: this.#guest });
      this.#activeEpoch = result.epoch;
      this.#driver?.stop();
      this.#shown.become('ACTIVE');
      onEvent('failover', { ...result });
      log.warn({ ...result, audit: true }, 'promoted');
      this.#awaited.done(result);
      onPromoted?.(promotion.register);
    } catch (thrown) {
      const error = asRomulusError(thrown);
      this.#shown.become('DEGRADED', error);
      this.#awaited.failed(error);
      throw error;
    }
  }

  /** Digests of the image by a full pass, beside those the primary named, once all that is committed is applied. */
  async verify(): Promise<{ epoch: Epoch; expected: string; found: string }> {
    await this.#receiver?.settled();
    return this.image.verify();
  }

  status(): VmStatus {
    const record = this.#record;
    const authority = this.#driver?.state;
    return {
      vm: this.#options.vm,
      role: 'backup',
      ...this.#shown.status(),
      peer: this.peer,
      hypervisor: record?.spec.hypervisor ?? 'qemu',
      term: this.term,
      ...(authority && { authority: authority.phase, failover: authority.policy.failover }),
      ...(authority && !authority.policy.witness && { manualBecause: 'no witness is configured' }),
      epoch: this.promoted ? this.#activeEpoch : this.image.committed,
      ackedEpoch: this.image.record?.applied ?? 0,
      epochMs: 0,
      windowEpochs: 0,
      rawBytes: 0,
      wireBytes: this.#receiver?.receivedBytes ?? 0,
      memoryBytes: { image: this.image.sizeBytes },
      ...(this.primarySilentMs !== undefined && { lastAckAgeMs: this.primarySilentMs }),
    };
  }

  /** Lets go of everything but image, hypervisor and records, as at the agent's end. */
  async close(): Promise<void> {
    this.#driver?.stop();
    if (this.#shown.state === 'ENDED') return;
    this.#receiver?.close();
    await this.#receiver?.settled();
    await this.#guest.release();
    this.image.close();
  }

  /**
   * The promoted guest is to be protected from here: gives up the backup's role, leaving guest, image and term as they
   * are. Returns the description the guest runs under on this host. Throws VM_BUSY unless it is ACTIVE.
   */
  async handOver(): Promise<VmSpec> {
    const record = this.#record;
    if (this.#shown.state !== 'ACTIVE' || record === undefined)
      throw notActive(this.#options.vm, this.#shown.state);
    await this.close();
    await removeRecord(this.#recordPath);
    return this.#guest.localSpec(record.spec);
  }

  /** A new peer, or new rules: whatever was promised before is waited out, as after a restart. */
  #startAuthority(record: StandbyRecord): void {
    this.#driver?.stop();
    const { node, vm, term, register, fenceOf, log, onEvent } = this.#options;
    const fence = fenceOf?.(record.peer);
    const { watchdogMs } = record.protection;
    const policy = policyOf(record.protection, {
      witness: record.protection.witness && register !== undefined,
      fence: fence !== undefined || watchdogMs !== undefined,
    });
    this.#driver = new BackupDriver({
      party: { vm, self: node, peer: record.peer },
      policy,
      term,
      image: {
        whole: this.image.promotable,
        term: this.image.record?.term ?? 0,
        epoch: this.image.committed,
      },
      register: policy.witness ? register : undefined,
      watchdogMs,
      log,
      hands: {
        ack: (ack) => this.#receiver?.ack(ack),
        answer: (beat) => this.#receiver?.answer(beat),
        reject: (higher) => this.#receiver?.refuse(this.#stale(), higher),
        promote: (promotion) => this.#promote(promotion),
        proveFenced: fence && (() => runFence(fence, { vm, peer: record.peer, term: this.term })),
        onChange: (before, after) => {
          if (before.phase !== after.phase) onEvent('authority', { phase: after.phase, term: after.term });
        },
        onEvent,
      },
    });
  }

  /** A second call finds the disk as it is. */
  #openDisk(local: VmSpec, createBytes?: number): void {
    const host = this.#options.openDisk?.(local, createBytes);
    if (host && !this.image.disk) this.image.disk = new StandbyDisk(host);
  }

  #admit(term: number): Promise<boolean> {
    return this.#driver?.hello(term) ?? Promise.resolve(false);
  }

  /** Why a primary's word is not taken: its term is over, or it is just being decided whose VM this is. */
  #refusal(term: number): RomulusError {
    if (term <= this.term && (term < this.term || this.promoted)) return this.#stale();
    return claimUnderWay(this.#options.vm);
  }

  #stale(): RomulusError {
    return staleTerm(this.#options.vm, this.term, this.promoted);
  }

  /** A newer primary exists than the guest that was promoted here: this one ends, before anything else is said. */
  async #yieldGuest(): Promise<void> {
    this.#guest.silence();
    await this.#guest.stop();
  }
}
