/** One VM seen from its backup: accepts the primary's session, keeps image and standby hypervisor ready, promotes. */

import { rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { TermFile } from '../shared/control/terms.ts';
import { crashPoint } from '../shared/crash-point.ts';
import type { HostDisk } from '../shared/disk/host-disk.ts';
import { readRecord, removeRecord, writeRecord } from '../shared/durable-file.ts';
import { asRomulusError, RomulusError } from '../shared/errors.ts';
import type { Logger } from '../shared/log.ts';
import type { FailoverRequest, FailoverResult, VmStatus } from '../shared/status.ts';
import type { Epoch, Geometry, ProtectionState, VmSpec } from '../shared/vm.ts';
import type { DiskAnswer } from '../shared/wire/disk-messages.ts';
import type { Hello, Sync } from '../shared/wire/messages.ts';
import { StandbyDisk } from './disk.ts';
import type { Target } from './hypervisor/target.ts';
import type { Durability } from './image/journal.ts';
import { StandbyImage } from './image/standby-image.ts';
import { localNetworks, StandbyNetwork } from './network.ts';
import type { Receiver } from './receiver.ts';

/** The standby hypervisor is looked at this often; one that died is made ready again. */
const TARGET_CHECK_MS = 1000;

export interface StandbyOptions {
  vm: string;
  dataDir: string;
  imageDir: string;
  runDir: string;
  threads: number;
  durability: Durability;
  /** Silence after which the primary counts as lost. */
  silenceMs: number;
  promiseMs: number;
  /** Paths that differ on this host from those the primary named. */
  overrides: Partial<VmSpec>;
  openTarget(spec: VmSpec): Promise<Target>;
  /** The guest's disk on this host, made of `createBytes` if it is not there; undefined for a guest without one. */
  openDisk?(spec: VmSpec, createBytes?: number): HostDisk | undefined;
  term: TermFile;
  log: Logger;
  onEvent(kind: string, fields: Record<string, unknown>): void;
}

/** What a restarted agent must know of this standby; written when the primary first says hello. */
interface StandbyRecord {
  peer: string;
  spec: VmSpec;
  geometry: Geometry;
}

export class Standby {
  readonly image: StandbyImage;
  readonly #options: StandbyOptions;
  readonly #recordPath: string;
  #record: StandbyRecord | undefined;
  #target: Target | undefined;
  readonly #network: StandbyNetwork;
  #preparing: Promise<void> = Promise.resolve();
  #receiver: Receiver | undefined;
  #state: ProtectionState = 'STARTING';
  #reason: RomulusError | undefined;
  #since = new Date();
  #promotion: Promise<FailoverResult> | undefined;
  #activeEpoch: Epoch = 0;
  #check: NodeJS.Timeout | undefined;

  constructor(options: StandbyOptions) {
    this.#options = options;
    this.#recordPath = join(options.dataDir, 'standby.json');
    this.#network = new StandbyNetwork(options.runDir, options.log);
    this.image = new StandbyImage({
      dir: options.imageDir,
      threads: options.threads,
      durability: options.durability,
    });
  }

  /** Takes up what a previous run of the agent left: image at a committed epoch, standby hypervisor, or a promoted guest. */
  async recover(): Promise<void> {
    this.#record = readRecord<StandbyRecord>(this.#recordPath);
    if (this.#record === undefined) return;
    const local = this.#localSpec(this.#record.spec);
    this.#target = await this.#options.openTarget(local);
    this.#openDisk(local);
    if (this.#options.term.current.role === 'primary') {
      this.#activeEpoch = this.#options.term.current.epoch;
      await this.#takeUpGuest(this.#target, this.#record.spec);
      return;
    }
    try {
      await this.image.recover();
    } catch (thrown) {
      this.image.disk?.forget();
      this.#become('DEGRADED', asRomulusError(thrown));
      return;
    }
    if (this.image.promotable) this.#prepare();
    this.#become(this.image.promotable ? 'STANDBY' : 'SYNCING');
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

  /** Milliseconds since the primary was heard, or undefined when no session is open. */
  get primarySilentMs(): number | undefined {
    return this.#receiver?.open ? this.#receiver.silentMs : undefined;
  }

  /** Throws what must be answered to this hello; afterwards receiver and image belong to it. */
  async accept(hello: Hello, receiver: Receiver): Promise<void> {
    const { term } = this;
    if (this.#promotion !== undefined || hello.term < term || (this.promoted && hello.term === term)) {
      throw new RomulusError(
        'TERM_STALE',
        `term ${hello.term} is over: ${this.#options.vm} is in term ${term} here`,
        {
          hint: `the guest runs on ${this.promoted ? 'this backup' : 'another host'}; on the old primary: romulus unprotect ${this.#options.vm}`,
        },
      );
    }
    const before = this.#receiver;
    this.#receiver = receiver;
    before?.close();
    await before?.settled();
    if (hello.term > term) await this.#options.term.save({ term: hello.term, role: 'backup', epoch: 0 });
    const spec = this.#localSpec(hello.spec);
    const target = await this.#options.openTarget(spec);
    await target.check(spec, hello.geometry);
    const known = this.#record;
    if (known !== undefined && !sameGeometry(known.geometry, hello.geometry)) await this.#discard();
    this.#target ??= target;
    await mkdir(this.#options.dataDir, { recursive: true, mode: 0o700 });
    this.#record = { peer: hello.node, spec: hello.spec, geometry: hello.geometry };
    writeRecord(this.#recordPath, this.#record);
    if (this.#state === 'STARTING') this.#become('SYNCING');
  }

  /**
   * Empties the image for a new lineage. The hypervisor that mapped the old file is ended first. Of a replicated disk, what
   * the primary must know to send only what differs.
   */
  async beginSync({ lineage, disk }: Sync): Promise<{ answer: DiskAnswer; dirtyBits: Buffer } | undefined> {
    const record = this.#record;
    if (record === undefined) throw new RomulusError('WIRE_ORDER', 'sync came before hello');
    this.#become('SYNCING');
    await this.#stopTarget();
    this.image.create(lineage, record.geometry.ramBytes);
    if (disk) this.#openDisk(this.#localSpec(record.spec), disk.sizeBytes);
    const answer = disk && this.image.disk?.beginSync(disk);
    if (disk && !answer) throw noDisk(this.#options.vm);
    this.#prepare();
    return answer;
  }

  /** Resolves when the standby hypervisor is ready; rejects with why it is not. */
  ready(): Promise<void> {
    return this.#preparing;
  }

  committed(epoch: Epoch): void {
    if (this.#state !== 'STANDBY') this.#become('STANDBY');
    this.#options.onEvent('commit', { epoch });
  }

  /** The session ended, or the image was found wrong: shown until the primary comes back. */
  degraded(error: RomulusError): void {
    if (this.promoted || this.#state === 'ENDED') return;
    this.#options.onEvent('lost', error.toJSON());
    this.#become(this.image.promotable && error.code === 'PEER_UNREACHABLE' ? 'STANDBY' : 'DEGRADED', error);
  }

  /** The primary ended protection on purpose: nothing is kept but the term. */
  async drop(): Promise<void> {
    this.#receiver?.close();
    await this.#discard();
    this.image.destroy();
    removeRecord(this.#recordPath);
    this.#become('ENDED');
  }

  /**
   * Manual failover. Throws PRIMARY_ALIVE while the primary is heard (unless forced with a proof of fencing) and
   * IMAGE_NOT_PROMOTABLE without a committed epoch. A second call while one runs joins it.
   */
  failover(request: FailoverRequest): Promise<FailoverResult> {
    this.#promotion ??= this.#promote(request).finally(() => {
      this.#promotion = undefined;
    });
    return this.#promotion;
  }

  async #promote({ force, fencedBy }: FailoverRequest): Promise<FailoverResult> {
    const decidedMs = performance.now();
    const { vm } = this.#options;
    this.#mayPromote(force === true, fencedBy);
    this.#become('PROMOTING');
    try {
      await this.#finishImage();
      await this.#startGuest();
    } catch (thrown) {
      this.#become(this.promoted ? 'DEGRADED' : 'STANDBY', asRomulusError(thrown));
      throw thrown;
    }
    const epoch = this.#activeEpoch;
    const decisionToRunningMs = performance.now() - decidedMs;
    this.#become('ACTIVE');
    const result = { vm, epoch, term: this.term, decisionToRunningMs };
    this.#options.onEvent('failover', { ...result, ...(fencedBy && { fencedBy }) });
    this.#options.log.warn({ ...result, force, fencedBy }, 'promoted');
    return result;
  }

  /** No frame of the old primary counts any more; what it committed is brought into the image. */
  async #finishImage(): Promise<void> {
    const receiver = this.#receiver;
    this.#receiver = undefined;
    receiver?.refuse(
      new RomulusError('TERM_STALE', `${this.#options.vm} is being promoted on the backup`),
      this.term + 1,
    );
    await receiver?.settled();
    this.image.journal.abort();
    if (!this.image.promotable) throw this.#notPromotable();
    await this.ready();
  }

  async #startGuest(): Promise<void> {
    const epoch = this.image.committed;
    const statePath = this.image.writeState();
    crashPoint('backup.promoting');
    // Durable before the guest runs: a restart of this agent must not take the image for a standby again.
    if (!this.promoted) await this.#options.term.save({ term: this.term + 1, role: 'primary', epoch });
    this.#activeEpoch = epoch;
    crashPoint('backup.promoted');
    this.image.disk?.promote();
    await this.#target?.start(statePath);
    this.#network.open();
  }

  #mayPromote(force: boolean, fencedBy: string | undefined): void {
    const { vm, silenceMs } = this.#options;
    if (this.#state === 'ACTIVE')
      throw new RomulusError('VM_BUSY', `${vm} already runs here`, { hint: `romulus status ${vm}` });
    if (force && !fencedBy) {
      throw new RomulusError(
        'FENCE_UNPROVEN',
        'a forced failover needs to know who or what made sure that the primary is dead',
        {
          hint: `romulus failover ${vm} --force --fenced-by WHO`,
        },
      );
    }
    const silentMs = this.primarySilentMs;
    if (!force && silentMs !== undefined && silentMs < silenceMs) {
      throw new RomulusError(
        'PRIMARY_ALIVE',
        `the primary of ${vm} was heard ${Math.round(silentMs)} ms ago on ${this.peer}`,
        {
          hint: `two running copies would corrupt what clients see; if the primary is certainly dead: romulus failover ${vm} --force --fenced-by WHO`,
        },
      );
    }
    if (!this.image.promotable) throw this.#notPromotable();
  }

  #notPromotable(): RomulusError {
    const why = this.#reason?.message ?? 'no epoch is committed yet';
    return new RomulusError(
      'IMAGE_NOT_PROMOTABLE',
      `the standby of ${this.#options.vm} cannot be promoted: ${why}`,
      {
        hint: `romulus status ${this.#options.vm}`,
      },
    );
  }

  status(): VmStatus {
    const record = this.#record;
    return {
      vm: this.#options.vm,
      role: 'backup',
      state: this.#state,
      ...(this.#reason && { reason: this.#reason.message }),
      ...(this.#reason?.hint && { hint: this.#reason.hint }),
      peer: this.peer,
      hypervisor: record?.spec.hypervisor ?? 'qemu',
      term: this.term,
      epoch: this.promoted ? this.#activeEpoch : this.image.committed,
      ackedEpoch: this.image.record?.applied ?? 0,
      epochMs: 0,
      windowEpochs: 0,
      rawBytes: 0,
      wireBytes: this.#receiver?.receivedBytes ?? 0,
      memoryBytes: { image: this.image.sizeBytes },
      ...(this.primarySilentMs !== undefined && { lastAckAgeMs: this.primarySilentMs }),
      since: this.#since.toISOString(),
    };
  }

  /** Lets go of everything but image, hypervisor and records, as at the agent's end. */
  async close(): Promise<void> {
    clearInterval(this.#check);
    if (this.#state === 'ENDED') return;
    this.#receiver?.close();
    await this.#receiver?.settled();
    await this.#preparing.catch(() => {}); // how it ended was reported when it did
    await this.#target?.release?.();
    this.#network.close();
    this.image.close();
  }

  /**
   * The promoted guest is to be protected from here: gives up the backup's role, leaving guest, image and term as they
   * are. Returns the description the guest runs under on this host. Throws VM_BUSY unless it is ACTIVE.
   */
  async handOver(): Promise<VmSpec> {
    const record = this.#record;
    if (this.#state !== 'ACTIVE' || record === undefined) {
      throw new RomulusError('VM_BUSY', `${this.#options.vm} is ${this.#state} here`, {
        hint: `romulus status ${this.#options.vm}`,
      });
    }
    await this.close();
    removeRecord(this.#recordPath);
    return this.#localSpec(record.spec);
  }

  #localSpec(spec: VmSpec): VmSpec {
    const { attachQmp: _, serialLog: __, ...portable } = spec;
    const { overrides, runDir } = this.#options;
    const networks = spec.networks && localNetworks(spec.networks, overrides.networks);
    return {
      ...portable,
      serialLog: join(runDir, 'serial.log'),
      ...overrides,
      ...(networks && { networks }),
    };
  }

  /** A second call finds the disk as it is. */
  #openDisk(local: VmSpec, createBytes?: number): void {
    const host = this.#options.openDisk?.(local, createBytes);
    if (host && !this.image.disk) this.image.disk = new StandbyDisk(host);
  }

  /** Makes the hypervisor ready beside the copying; ready() tells how it went. */
  #prepare(): void {
    const { runDir } = this.#options;
    const target = this.#target;
    const spec = this.#record?.spec;
    if (target === undefined || spec === undefined) return;
    const local = this.#localSpec(spec);
    this.#preparing = mkdir(runDir, { recursive: true, mode: 0o700 }).then(() => {
      this.#network.prepare(local);
      return target.prepare(local, { imagePath: this.image.ramPath, runDir, image: this.image });
    });
    this.#preparing.catch((thrown) => this.degraded(asRomulusError(thrown)));
    this.#check ??= setInterval(() => void this.#checkTarget(), TARGET_CHECK_MS);
  }

  async #checkTarget(): Promise<void> {
    if (this.#state !== 'STANDBY' || this.#promotion !== undefined) return;
    const prepared = await this.#preparing.then(
      () => true,
      () => false,
    );
    if (prepared && (await this.#target?.alive())) return;
    this.#options.log.warn({ vm: this.#options.vm }, 'the standby hypervisor died; making it ready again');
    this.#prepare();
  }

  async #takeUpGuest(target: Target, spec: VmSpec): Promise<void> {
    const { runDir } = this.#options;
    const local = this.#localSpec(spec);
    this.image.disk?.promote();
    const found = await target.takeUp(local, { imagePath: this.image.ramPath, runDir });
    if (found !== 'gone') this.#network.prepare(local);
    if (found === 'running') this.#network.open();
    if (found === 'waiting') {
      // The previous run died between deciding and starting: nothing has run on this image yet.
      await this.image.recover();
      await this.#startGuest();
    }
    if (found !== 'gone') return this.#become('ACTIVE');
    const hint = `see the hypervisor's log in ${runDir}`;
    this.#become('ENDED', new RomulusError('HV_GUEST_GONE', 'the promoted guest no longer runs', { hint }));
  }

  async #stopTarget(): Promise<void> {
    await this.#preparing.catch(() => {}); // how it ended was reported when it did
    await this.#target?.stop();
  }

  async #discard(): Promise<void> {
    clearInterval(this.#check);
    this.#check = undefined;
    await this.#stopTarget();
    this.#network.close();
    this.#target = undefined;
    rmSync(this.#options.runDir, { recursive: true, force: true });
  }

  #become(state: ProtectionState, reason?: RomulusError): void {
    this.#reason = reason;
    if (state === this.#state) return;
    this.#state = state;
    this.#since = new Date();
    this.#options.onEvent('state', { state, ...(reason && { reason: reason.message, code: reason.code }) });
  }
}

function noDisk(vm: string): RomulusError {
  return new RomulusError(
    'WIRE_GEOMETRY',
    `the primary replicates the disk of ${vm}, and this host has none for it`,
    {
      hint: `name an image under vms.${vm}.disk in agent.yaml`,
    },
  );
}

function sameGeometry(a: Geometry, b: Geometry): boolean {
  return a.arch === b.arch && a.ramBytes === b.ramBytes && a.cpus === b.cpus && a.hypervisor === b.hypervisor;
}
