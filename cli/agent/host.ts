/** All VMs of one host, in either role: what is protected from here, what is on standby here, and how each comes back after a restart. */

import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { exportXen } from '../../backup/export.ts';
import { openTarget } from '../../backup/hypervisor/open.ts';
import { Standby } from '../../backup/standby.ts';
import { preloadPath } from '../../native/preload.ts';
import { openSource } from '../../primary/hypervisor/open.ts';
import { DiskStream } from '../../primary/output/disk.ts';
import type { OutputGate } from '../../primary/output/gate.ts';
import { openGates } from '../../primary/output/open.ts';
import { Replica } from '../../primary/replica.ts';
import type { AgentConfig, VmConfig } from '../../shared/config.ts';
import { TermFile } from '../../shared/control/terms.ts';
import { HostDisk } from '../../shared/disk/host-disk.ts';
import { readRecord, removeRecord, writeRecord } from '../../shared/durable-file.ts';
import { asRomulusError, RomulusError } from '../../shared/errors.ts';
import { diskSocket } from '../../shared/hypervisor/qemu-args.ts';
import type { Logger } from '../../shared/log.ts';
import type {
  ExportRequest,
  ExportResult,
  FailoverRequest,
  FailoverResult,
  ProtectRequest,
  VmStatus,
} from '../../shared/status.ts';
import type { AgentTlsOptions } from '../../shared/tls.ts';
import { dialWith } from '../../shared/tls-identity.ts';
import type { VmSpec } from '../../shared/vm.ts';
import type { Hello } from '../../shared/wire/messages.ts';
import type { EventLog } from './events.ts';

/** Bound of the copy of a disk whose guest the config no longer names, in bytes a second. */
const DISK_COPY_BYTES_PER_S = 128 * 1024 * 1024;

export interface HostOptions {
  config: AgentConfig;
  /** Asked for each connection. */
  tls?: () => AgentTlsOptions;
  silenceMs: number;
  promiseMs: number;
  log: Logger;
  events: EventLog;
}

/** What a restarted agent must know to go on protecting a VM. */
interface ProtectionRecord {
  to: string;
  spec: VmSpec;
  epochMs: number;
  epochMaxMs?: number;
  windowEpochs: number;
  /** A higher term was seen: the guest here must not run again. */
  fencedByTerm?: number;
}

export class Host {
  readonly node: string;
  readonly #options: HostOptions;
  readonly #replicas = new Map<string, Replica>();
  readonly #standbys = new Map<string, Standby>();
  /** Also of guests no longer protected: the relay is their way to the world. */
  readonly #gates = new Map<string, OutputGate[]>();
  /** Their hypervisors' disks, whatever the role; like gates, of guests no longer protected too. */
  readonly #disks = new Map<string, HostDisk>();
  /** VMs that could not be taken up after a restart, and why. */
  readonly #failed = new Map<string, VmStatus>();

  constructor(options: HostOptions) {
    this.#options = options;
    this.node = options.config.node;
  }

  /** Takes up every VM that a previous run protected or held on standby. One that fails is shown as DEGRADED. */
  async recover(): Promise<void> {
    const root = join(this.#options.config.dataDir, 'vms');
    mkdirSync(root, { recursive: true, mode: 0o700 });
    for (const vm of readdirSync(root)) {
      try {
        const record = readRecord<ProtectionRecord>(this.#protectionPath(vm));
        if (record) await this.#startReplica(vm, record, { mayStart: false, serving: false });
        else await (await this.#openStandby(vm)).recover();
      } catch (thrown) {
        const error = asRomulusError(thrown);
        this.#options.log.error({ vm, err: thrown }, 'cannot take up this VM again');
        this.#failed.set(vm, failedStatus(vm, error));
      }
    }
    for (const [vm, standby] of this.#standbys)
      if (standby.status().state === 'STARTING') this.#standbys.delete(vm);
  }

  statuses(): VmStatus[] {
    const live = [...this.#replicas.values(), ...this.#standbys.values()].map((vm) => vm.status());
    return [...live, ...this.#failed.values()].sort((a, b) => a.vm.localeCompare(b.vm));
  }

  status(vm: string): VmStatus {
    const found = (this.#replicas.get(vm) ?? this.#standbys.get(vm))?.status() ?? this.#failed.get(vm);
    if (found === undefined) throw this.#unknown(vm);
    return found;
  }

  /** A standby's newest epoch as a file for the hypervisor's own tools; VM_BUSY once the guest runs here. */
  async exportCheckpoint({ vm, path }: ExportRequest): Promise<ExportResult> {
    const standby = this.#standbys.get(vm);
    if (standby === undefined) throw this.#unknown(vm);
    const { hypervisor, state } = standby.status();
    if (hypervisor !== 'xen')
      throw new RomulusError('HV_UNSUPPORTED', `${vm} is a guest of ${hypervisor}, not of Xen`, {
        hint: `romulus status ${vm}`,
      });
    if (standby.promoted)
      throw new RomulusError('VM_BUSY', `${vm} is ${state} here: its image is its memory now`, {
        hint: `xl save ${vm} ${path}`,
      });
    return { vm, path, ...(await exportXen(standby.image, path)) };
  }

  verify(vm: string): Promise<{ epoch: number; expected: string; found: string }> {
    const standby = this.#standbys.get(vm);
    if (standby === undefined) throw this.#unknown(vm);
    return standby.image.verify();
  }

  async protect(request: ProtectRequest): Promise<VmStatus> {
    const { vm, to } = request;
    const { config } = this.#options;
    const known = config.vms[vm];
    if (known === undefined) throw this.#unknown(vm);
    if (config.peers[to] === undefined) {
      throw new RomulusError('PEER_UNKNOWN', `no peer is named "${to}"`, {
        hint: `known peers: ${Object.keys(config.peers).join(', ') || 'none'}; add it under peers: in agent.yaml`,
      });
    }
    const running = this.#replicas.get(vm)?.status().state;
    if ((running !== undefined && running !== 'ENDED') || this.#failed.has(vm)) {
      throw new RomulusError('VM_BUSY', `${vm} is already ${this.status(vm).state} here`, {
        hint: `romulus status ${vm}`,
      });
    }
    // After a failover the roles swap: what was promoted here is protected from here, towards the old primary.
    const promoted = this.#standbys.get(vm);
    const spec = promoted === undefined ? known.spec : await promoted.handOver();
    this.#standbys.delete(vm);
    const record: ProtectionRecord = {
      to,
      spec,
      ...epochsOf(request, known),
      windowEpochs: request.window ?? known.windowEpochs,
    };
    mkdirSync(this.#vmDir(vm), { recursive: true, mode: 0o700 });
    writeRecord(this.#protectionPath(vm), record);
    try {
      await this.#startReplica(vm, record, { mayStart: promoted === undefined, serving: true });
    } catch (thrown) {
      // A promoted guest runs on whatever failed here, and must not be forgotten.
      if (promoted === undefined) removeRecord(this.#protectionPath(vm));
      else this.#failed.set(vm, failedStatus(vm, asRomulusError(thrown)));
      throw thrown;
    }
    return this.status(vm);
  }

  async unprotect(vm: string): Promise<VmStatus> {
    const replica = this.#replicas.get(vm);
    if (replica === undefined) {
      if (!this.#failed.has(vm)) throw this.#unknown(vm);
      const status = this.status(vm);
      removeRecord(this.#protectionPath(vm));
      this.#failed.delete(vm);
      return { ...status, state: 'ENDED' };
    }
    await replica.stop({ forget: true });
    removeRecord(this.#protectionPath(vm));
    this.#replicas.delete(vm);
    return replica.status();
  }

  failover(request: FailoverRequest): Promise<FailoverResult> {
    const { vm } = request;
    const standby = this.#standbys.get(vm);
    if (standby !== undefined) return standby.failover(request);
    const replica = this.#replicas.get(vm);
    if (replica === undefined) throw this.#unknown(vm);
    const { peer, state } = replica.status();
    throw new RomulusError('PRIMARY_ALIVE', `${vm} runs on this host, which is its primary (${state})`, {
      hint: `if this host must give it up, stop the guest here, then on ${peer}: romulus failover ${vm}`,
    });
  }

  /** The standby a primary's hello is for; made when it is the first. Refuses a VM that this host itself runs. */
  async standbyFor(hello: Hello): Promise<Standby> {
    const { vm } = hello;
    if (this.#replicas.has(vm)) {
      throw new RomulusError(
        'VM_BUSY',
        `${vm} is protected from this host and cannot be on standby here too`,
        {
          hint: `on ${this.node}: romulus unprotect ${vm}`,
        },
      );
    }
    const known = this.#standbys.get(vm);
    if (known !== undefined) return known;
    const term = await TermFile.open(join(this.#vmDir(vm), 'term'));
    if (hello.term > term.current.term) {
      // The VM lives elsewhere now: whatever this host remembers of protecting it is over, and it becomes the backup.
      removeRecord(this.#protectionPath(vm));
      this.#failed.delete(vm);
    } else if (this.#failed.has(vm)) {
      throw new RomulusError(
        'VM_BUSY',
        `${vm} was protected from this host and is ${this.status(vm).state} here`,
        {
          hint: `on ${this.node}: romulus unprotect ${vm}`,
        },
      );
    }
    this.#dropGates(vm);
    mkdirSync(this.#vmDir(vm), { recursive: true, mode: 0o700 });
    return this.#openStandby(vm);
  }

  /** Lets go of everything; guests, images and standby hypervisors stay. */
  async close(): Promise<void> {
    await Promise.all([
      ...[...this.#replicas.values()].map((replica) => replica.stop({ forget: false })),
      ...[...this.#standbys.values()].map((standby) => standby.close()),
    ]);
    for (const vm of [...this.#gates.keys()]) this.#dropGates(vm);
    for (const vm of [...this.#disks.keys()]) this.#closeDisk(vm);
  }

  async #startReplica(
    vm: string,
    record: ProtectionRecord,
    start: { mayStart: boolean; serving: boolean },
  ): Promise<void> {
    const { config, tls, silenceMs, log, events } = this.#options;
    const peer = config.peers[record.to];
    if (peer === undefined)
      throw new RomulusError('PEER_UNKNOWN', `no peer is named "${record.to}" any more`);
    if (record.fencedByTerm !== undefined) {
      throw new RomulusError(
        'TERM_STALE',
        `${vm} was promoted elsewhere in term ${record.fencedByTerm}; it must not run here`,
        {
          hint: `remove the stale guest, then: romulus unprotect ${vm}`,
        },
      );
    }
    const term = await TermFile.open(join(this.#vmDir(vm), 'term'));
    if (term.current.term === 0) await term.save({ term: 1, role: 'primary', epoch: 0 });
    // Served before the guest starts, or so that one that runs finds its disk again.
    const disk = this.#openDisk(record.spec);
    disk?.disk.setWritable(true);
    const source = await openSource(record.spec, { runDir: config.runDir, preloadPath: preloadPath() });
    const gates = this.#gates.get(vm) ?? openGates(record.spec, { runDir: config.runDir });
    this.#gates.set(vm, gates);
    const replica = new Replica(source, {
      node: config.node,
      spec: record.spec,
      peer: record.to,
      address: peer.address,
      ...(tls && { tls: dialWith(tls, record.to) }),
      epochMs: record.epochMs,
      ...(record.epochMaxMs !== undefined && { epochMaxMs: record.epochMaxMs }),
      ...paceOf(config.vms[vm]),
      windowEpochs: record.windowEpochs,
      silenceMs,
      threads: config.threads,
      term: term.current.term,
      gates,
      ...(disk && { disk: new DiskStream(disk, config.vms[vm]?.diskCopyBytesPerS ?? DISK_COPY_BYTES_PER_S) }),
      log,
      recordFenced: (fencedByTerm) => writeRecord(this.#protectionPath(vm), { ...record, fencedByTerm }),
      onEvent: (kind, fields) => events.emit(vm, kind, fields),
    });
    try {
      await replica.start(start);
    } catch (thrown) {
      this.#dropGates(vm);
      this.#closeDisk(vm);
      throw thrown;
    }
    this.#failed.delete(vm);
    this.#replicas.set(vm, replica);
  }

  async #openStandby(vm: string): Promise<Standby> {
    const { config, silenceMs, promiseMs, log, events } = this.#options;
    const term = await TermFile.open(join(this.#vmDir(vm), 'term'));
    const standby = new Standby({
      vm,
      dataDir: this.#vmDir(vm),
      imageDir: join(config.imageDir, vm),
      runDir: join(config.runDir, vm),
      threads: config.threads,
      durability: 'memory',
      silenceMs,
      promiseMs,
      overrides: localPaths(config.vms[vm]?.spec),
      openDisk: (spec, createBytes) => this.#openDisk(spec, createBytes),
      openTarget: (spec) => openTarget(spec, { preloadPath: preloadPath() }),
      term,
      log,
      onEvent: (kind, fields) => {
        if (kind === 'state' && fields.state === 'ENDED') {
          this.#standbys.delete(vm);
          this.#closeDisk(vm);
        }
        events.emit(vm, kind, fields);
      },
    });
    this.#standbys.set(vm, standby);
    return standby;
  }

  #dropGates(vm: string): void {
    for (const gate of this.#gates.get(vm) ?? []) gate.detach();
    this.#gates.delete(vm);
  }

  #openDisk(spec: VmSpec, createBytes?: number): HostDisk | undefined {
    const { name, disk: path, hypervisor } = spec;
    if (path === undefined || hypervisor !== 'qemu') return undefined;
    const { runDir } = this.#options.config;
    const open =
      this.#disks.get(name) ??
      new HostDisk({
        vm: name,
        path,
        mapPath: join(this.#vmDir(name), 'disk.map'),
        socketPath: diskSocket(join(runDir, name)),
        ...(createBytes !== undefined && { createBytes }),
        log: this.#options.log,
      });
    this.#disks.set(name, open);
    return open;
  }

  #closeDisk(vm: string): void {
    this.#disks.get(vm)?.close();
    this.#disks.delete(vm);
  }

  #vmDir(vm: string): string {
    return join(this.#options.config.dataDir, 'vms', vm);
  }

  #protectionPath(vm: string): string {
    return join(this.#vmDir(vm), 'protection.json');
  }

  #unknown(vm: string): RomulusError {
    const known = Object.keys(this.#options.config.vms).join(', ') || 'none';
    return new RomulusError('VM_UNKNOWN', `this host knows no VM named "${vm}"`, {
      hint: `VMs in its config: ${known}; what it holds now: romulus list`,
    });
  }
}

/** Lengths asked for go before the config's; one that is asked for alone is kept to. */
function epochsOf(request: ProtectRequest, known: VmConfig): { epochMs: number; epochMaxMs: number } {
  const epochMs = request.epochMs ?? known.epochMs;
  const epochMaxMs = request.epochMaxMs ?? request.epochMs ?? known.epochMaxMs;
  return { epochMs, epochMaxMs: Math.max(epochMs, epochMaxMs) };
}

/** What the config says about pauses, commits and the shadow copy; a VM the config no longer names has the defaults. */
function paceOf(known: VmConfig | undefined): {
  pauseShare?: number;
  commitMaxMs?: number;
  shadowShare?: number;
} {
  if (known === undefined) return {};
  const { pauseShare, commitMaxMs, shadowShare } = known;
  return { pauseShare, shadowShare, ...(commitMaxMs !== undefined && { commitMaxMs }) };
}

/** What this host's own config says about where a guest's files lie here. */
function localPaths(spec: VmSpec | undefined): Partial<VmSpec> {
  if (spec === undefined) return {};
  const { kernel, initrd, disk, serialLog, networks } = spec;
  return {
    ...(kernel && { kernel }),
    ...(initrd && { initrd }),
    ...(disk && { disk }),
    ...(serialLog && { serialLog }),
    ...(networks && { networks }),
  };
}

function failedStatus(vm: string, error: RomulusError): VmStatus {
  return {
    vm,
    role: 'primary',
    state: error.code === 'TERM_STALE' ? 'FENCED' : 'DEGRADED',
    reason: error.message,
    ...(error.hint && { hint: error.hint }),
    peer: '',
    hypervisor: 'qemu',
    term: 0,
    epoch: 0,
    ackedEpoch: 0,
    epochMs: 0,
    windowEpochs: 0,
    rawBytes: 0,
    wireBytes: 0,
    since: new Date().toISOString(),
  };
}
