/** One VM on this host: in which role, and how the roles follow each other: protected, fenced, backup, promoted, protected in its turn. */

import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Standby } from '../../backup/standby.ts';
import { type StandbyRecord, standbyRecordPath } from '../../backup/standby-record.ts';
import type { PrimaryOrigin } from '../../primary/authority-driver.ts';
import type { Replica } from '../../primary/replica.ts';
import { startAs } from '../../shared/control/startup.ts';
import { TermFile } from '../../shared/control/terms.ts';
import { readRecord, removeRecord, writeRecord } from '../../shared/durable-file.ts';
import { asRomulusError, RomulusError } from '../../shared/errors.ts';
import type { VmStatus } from '../../shared/status.ts';
import type { VmSpec } from '../../shared/vm.ts';
import type { Hello } from '../../shared/wire/messages.ts';
import { GuestDevices } from './guest-devices.ts';
import { protectionAfterPromotion } from './promoted.ts';
import { restingStatus } from './resting-status.ts';
import { endGuest, forgetGuest } from './retire.ts';
import {
  buildReplica,
  buildStandby,
  type HostParts,
  type ProtectionRecord,
  protectionPath,
  vmDir,
} from './roles.ts';

/** A promoted guest announces itself for two seconds on the taps of its standby; then it is protected in its turn. */
const PROTECT_AFTER_PROMOTION_MS = 2500;
/** Between two looks for a witness without which an agent that starts cannot know whose VM it holds. */
const ASK_AGAIN_MS = 1000;

export type SlotEvents = (vm: string, kind: string, fields: Record<string, unknown>) => void;

export class VmSlot {
  readonly vm: string;
  readonly #parts: HostParts;
  readonly #emit: SlotEvents;
  readonly #term: TermFile;
  readonly #devices: GuestDevices;
  #replica: Replica | undefined;
  #standby: Standby | undefined;
  /** Neither role: why, and what to do. */
  #resting: VmStatus | undefined;
  /** One change of role after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  static async open(vm: string, parts: HostParts, emit: SlotEvents): Promise<VmSlot> {
    mkdirSync(vmDir(parts.config, vm), { recursive: true, mode: 0o700 });
    return new VmSlot(vm, parts, emit, await TermFile.open(join(vmDir(parts.config, vm), 'term')));
  }

  private constructor(vm: string, parts: HostParts, emit: SlotEvents, term: TermFile) {
    this.vm = vm;
    this.#parts = parts;
    this.#emit = emit;
    this.#term = term;
    this.#devices = new GuestDevices(parts);
  }

  get replica(): Replica | undefined {
    return this.#replica;
  }

  get standby(): Standby | undefined {
    return this.#standby;
  }

  /** undefined: this host has nothing to do with the VM any more. */
  status(): VmStatus | undefined {
    return this.#replica?.status() ?? this.#standby?.status() ?? this.#resting;
  }

  /** Takes up what a previous run of the agent left; a VM that cannot be taken up rests, with the reason. */
  recover(): Promise<void> {
    return this.#next(async () => {
      try {
        await this.#recover();
      } catch (thrown) {
        this.#parts.log.error({ vm: this.vm, err: thrown }, 'cannot take up this VM again');
        this.#resting = restingStatus(this.vm, 'primary', asRomulusError(thrown));
      }
    });
  }

  async #recover(): Promise<void> {
    const { config, register } = this.#parts;
    const protection = readRecord<ProtectionRecord>(this.#protectionPath);
    const standby = readRecord<StandbyRecord>(standbyRecordPath(vmDir(config, this.vm)));
    const spec = protection?.spec ?? standby?.spec;
    if (spec === undefined) return;
    const record = this.#term.current;
    // A protection that was just begun has no term yet, and nobody else can have the VM.
    if ((protection !== undefined || record.role === 'primary') && record.term > 0) {
      const image = { whole: false, term: 0, epoch: 0 };
      const reading = await register?.read(this.vm);
      const start = startAs(config.node, { record, guestAlive: true, image }, reading);
      if (start.as === 'wait') return this.#askAgain(start.reason);
      if (start.as === 'backup') {
        const owner = reading?.outcome === 'read' ? reading.state : undefined;
        return this.#becomeBackup(spec, owner?.term ?? record.term, owner?.owner);
      }
    }
    this.#resting = undefined;
    if (protection !== undefined) return this.#startReplica(protection, { as: 'restarted' }, false);
    const found = this.#openStandby();
    await found.recover();
    if (found.status().state === 'ACTIVE') this.#protectLater({ as: 'restarted' });
  }

  /**
   * Serves the disk of a guest that is started by other hands than the agent's, before it is protected: where there is an
   * image, and no other host may have the VM.
   */
  serveDisk(spec: VmSpec): Promise<void> {
    return this.#next(async () => {
      const { term, role } = this.#term.current;
      if (this.status() !== undefined || (term > 0 && role === 'backup')) return;
      if (spec.disk === undefined || !existsSync(spec.disk)) return;
      try {
        this.#devices.openDisk(spec)?.setWritable(true);
      } catch (thrown) {
        this.#parts.log.warn({ vm: this.vm, err: thrown }, 'the disk of this VM is not served');
      }
    });
  }

  /** The guest's gate died with the agent before, so waiting shows nothing to anybody. */
  #askAgain(reason: string): void {
    const error = new RomulusError(
      'WITNESS_UNREACHABLE',
      `the witness must say whose VM this is: ${reason}`,
      {
        hint: 'romulus doctor',
      },
    );
    this.#resting = restingStatus(this.vm, 'primary', error);
    if (this.#closed) return;
    this.#timer = setTimeout(() => void this.recover(), ASK_AGAIN_MS);
  }

  /** Begins to protect a guest of this host, or the one that was promoted here. The same request again changes nothing. */
  protect(record: ProtectionRecord): Promise<void> {
    return this.#next(async () => {
      const running = this.#replica?.status().state;
      const ended = running === undefined || running === 'ENDED';
      if (!ended && running !== 'FENCED' && this.#replica?.peer === record.to) return;
      if (!ended || this.#resting !== undefined) {
        throw new RomulusError('VM_BUSY', `${this.vm} is already ${this.status()?.state} here`, {
          hint: `romulus status ${this.vm}`,
        });
      }
      if (this.#standby !== undefined)
        return this.#protectPromoted(record, { as: 'promoted', register: undefined });
      await this.#refuseIfOwnedElsewhere();
      await writeRecord(this.#protectionPath, record);
      try {
        await this.#startReplica(record, { as: 'new' }, true);
      } catch (thrown) {
        await removeRecord(this.#protectionPath);
        throw thrown;
      }
    });
  }

  async unprotect(): Promise<VmStatus> {
    return this.#next(async () => {
      const replica = this.#replica;
      if (replica === undefined) {
        if (this.#resting === undefined) throw unknownVm(this.vm);
        const status = this.#resting;
        await removeRecord(this.#protectionPath);
        this.#resting = undefined;
        return { ...status, state: 'ENDED' };
      }
      await replica.stop({ forget: true });
      await removeRecord(this.#protectionPath);
      this.#replica = undefined;
      return replica.status();
    });
  }

  /** The standby a primary's hello is for; made when it is the first. Refuses a VM that this host itself runs. */
  async standbyFor(hello: Hello): Promise<Standby> {
    const replica = this.#replica;
    if (replica !== undefined) {
      // A higher term than one's own ends a primary; it comes back when this host has become the backup.
      if (hello.term > replica.authority.state.term) replica.authority.rejected(hello.term);
      else if (hello.term < replica.authority.state.term) throw this.#stale(replica.authority.state.term);
      throw new RomulusError(
        'VM_BUSY',
        `${this.vm} is protected from this host and cannot be on standby here too`,
        {
          hint: `here: romulus status ${this.vm}`,
        },
      );
    }
    return this.#next(async () => {
      if (this.#standby !== undefined) return this.#standby;
      const { term } = this.#term.current;
      if (hello.term < term) throw this.#stale(term);
      if (
        hello.term === term &&
        this.#resting !== undefined &&
        readRecord(this.#protectionPath) !== undefined
      ) {
        throw new RomulusError(
          'VM_BUSY',
          `${this.vm} was protected from this host and is ${this.#resting.state} here`,
          {
            hint: `here: romulus unprotect ${this.vm}`,
          },
        );
      }
      // The VM lives elsewhere now: whatever this host remembers of protecting it is over, and it becomes the backup.
      clearTimeout(this.#timer);
      await removeRecord(this.#protectionPath);
      this.#resting = undefined;
      this.#devices.dropGates();
      return this.#openStandby();
    });
  }

  /** Lets go of everything; guests, images and standby hypervisors stay. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#next(async () => {
      await this.#replica?.stop({ forget: false });
      await this.#standby?.close();
      this.#devices.close();
    });
  }

  #next<T>(change: () => Promise<T>): Promise<T> {
    const mine = this.#turn.then(change);
    this.#turn = mine.catch(() => {}); // whoever asked for it gets the error
    return mine;
  }

  async #startReplica(record: ProtectionRecord, origin: PrimaryOrigin, mayStart: boolean): Promise<void> {
    // Served before the guest starts, or so that one that runs finds its disk again.
    const disk = this.#devices.openDisk(record.spec);
    disk?.setWritable(true);
    const gates = this.#devices.openGates(record.spec);
    try {
      const replica = await buildReplica(this.#parts, record, {
        term: this.#term,
        gates,
        disk,
        onEvent: (kind, fields) => this.#onReplicaEvent(record.spec, kind, fields),
      });
      await replica.start({ mayStart, origin });
      this.#resting = undefined;
      this.#replica = replica;
    } catch (thrown) {
      // A Xen guest runs whether it is protected or not, and goes on with its disk.
      if (record.spec.hypervisor === 'xen') this.#devices.dropGates();
      else this.#devices.close();
      throw thrown;
    }
  }

  #onReplicaEvent(spec: VmSpec, kind: string, fields: Record<string, unknown>): void {
    this.#emit(this.vm, kind, fields);
    if (kind === 'state' && fields.state === 'ENDED' && fields.code === 'HV_UNSUPPORTED') this.#giveUp();
    if (kind !== 'authority' || fields.phase !== 'FENCED' || this.#closed) return;
    void this.#next(async () => {
      await this.#replica?.stop({ forget: false });
      try {
        await this.#becomeBackup(spec, this.#term.current.term, undefined);
      } finally {
        // Only now: a VM that this host still holds is known to it at every moment, or an order about it would fail.
        this.#replica = undefined;
      }
    }).catch((thrown) => this.#rest(thrown));
  }

  /** The backup cannot run this guest: protection ends as if by order, and its status goes on saying why. */
  #giveUp(): void {
    void this.#next(async () => {
      if (this.#closed || this.#replica?.status().state !== 'ENDED') return;
      await this.#replica.stop({ forget: true });
      await removeRecord(this.#protectionPath);
    }).catch((thrown) => this.#rest(thrown));
  }

  /** Another node owns the VM: what runs or lies here is stale, and waits for that node's hello. */
  async #becomeBackup(spec: VmSpec, term: number, owner: string | undefined): Promise<void> {
    this.#devices.dropGates();
    await endGuest(this.#parts, spec);
    this.#devices.yieldDisk();
    await this.#standby?.close();
    this.#standby = undefined;
    await forgetGuest(this.#parts, this.vm, term, this.#term);
    const where = owner === undefined ? 'elsewhere' : `on ${owner}`;
    const message = `${this.vm} runs ${where} in term ${term}; this host waits to be its backup`;
    this.#parts.log.warn({ vm: this.vm, term, audit: true }, message);
    this.#resting = restingStatus(this.vm, 'backup', new RomulusError('TERM_STALE', message), term);
    this.#emit(this.vm, 'became-backup', { term });
  }

  #openStandby(): Standby {
    const standby = buildStandby(this.#parts, this.vm, {
      term: this.#term,
      openDisk: (spec, createBytes) => this.#devices.openDisk(spec, createBytes),
      onEvent: (kind, fields) => {
        if (kind === 'state' && fields.state === 'ENDED') {
          this.#standby = undefined;
          this.#devices.dropDisk();
        }
        this.#emit(this.vm, kind, fields);
      },
      onPromoted: (register) => this.#protectLater({ as: 'promoted', register }),
    });
    this.#standby = standby;
    return standby;
  }

  #protectLater(origin: PrimaryOrigin): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      void this.#next(async () => {
        const standby = this.#standby;
        const peer = standby?.peer ?? '';
        if (standby?.status().state !== 'ACTIVE' || standby.protection === undefined) return;
        if (this.#parts.config.peers[peer] === undefined) {
          this.#parts.log.warn(
            { vm: this.vm, peer },
            'unprotected: the old primary is no peer of this config',
          );
          return;
        }
        const settings = protectionAfterPromotion(this.#parts, this.vm, peer, standby.protection);
        await this.#protectPromoted(settings, origin);
      }).catch((thrown) => this.#rest(thrown));
    }, PROTECT_AFTER_PROMOTION_MS);
  }

  /** After a failover the roles swap: what was promoted here is protected from here, towards the old primary. */
  async #protectPromoted(settings: Omit<ProtectionRecord, 'spec'>, origin: PrimaryOrigin): Promise<void> {
    const spec = await this.#standby?.handOver();
    if (spec === undefined) return;
    const record: ProtectionRecord = { ...settings, spec };
    try {
      await writeRecord(this.#protectionPath, record);
      await this.#startReplica(record, origin, false);
    } catch (thrown) {
      // A promoted guest runs on whatever failed here, and must not be forgotten.
      this.#rest(thrown);
      throw thrown;
    } finally {
      // Only now, as above: until then it is the standby that says that the guest is active here.
      this.#standby = undefined;
    }
  }

  async #refuseIfOwnedElsewhere(): Promise<void> {
    const reading = await this.#parts.register?.read(this.vm);
    if (reading?.outcome !== 'read' || reading.state === undefined) return;
    const { owner, term, mode } = reading.state;
    if (owner === this.#parts.config.node) return;
    throw new RomulusError('VM_BUSY', `${owner} owns ${this.vm} in term ${term} (${mode})`, {
      hint: `on ${owner}: romulus status ${this.vm}`,
    });
  }

  #rest(thrown: unknown): void {
    this.#parts.log.error({ vm: this.vm, err: thrown }, 'this VM cannot go on by itself');
    this.#resting = restingStatus(this.vm, 'primary', asRomulusError(thrown));
  }

  #stale(term: number): RomulusError {
    return Object.assign(new RomulusError('TERM_STALE', `${this.vm} is in term ${term} here`), {
      peerTerm: term,
    });
  }

  get #protectionPath(): string {
    return protectionPath(this.#parts.config, this.vm);
  }
}

export function unknownVm(vm: string, known: readonly string[] = []): RomulusError {
  return new RomulusError('VM_UNKNOWN', `this host knows no VM named "${vm}"`, {
    hint: `VMs in its config: ${known.join(', ') || 'none'}; what it holds now: romulus list`,
  });
}
