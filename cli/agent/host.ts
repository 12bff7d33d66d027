/** All VMs of one host, each in its slot: what operators, peers and a restart ask of them. */

import { mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { exportXen } from '../../backup/export.ts';
import type { Standby } from '../../backup/standby.ts';
import type { Replica } from '../../primary/replica.ts';
import type { VmConfig } from '../../shared/config.ts';

import { checkPolicy, policyOf } from '../../shared/control/policy.ts';
import { sideEffects } from '../../shared/control/side-effects.ts';
import { RomulusError } from '../../shared/errors.ts';
import type {
  ExportRequest,
  ExportResult,
  FailoverRequest,
  FailoverResult,
  ProtectRequest,
  VmStatus,
} from '../../shared/status.ts';
import type { Hello } from '../../shared/wire/messages.ts';
import type { EventLog } from './events.ts';
import type { Dependents } from './host-watchdog.ts';
import type { HostParts, ProtectionRecord } from './roles.ts';
import { unknownVm, VmSlot } from './vm-slot.ts';

export interface HostOptions extends HostParts {
  events: EventLog;
}

export class Host {
  readonly node: string;
  readonly #options: HostOptions;
  readonly #slots = new Map<string, Promise<VmSlot>>();
  /** The same, once open. */
  readonly #open = new Map<string, VmSlot>();

  constructor(options: HostOptions) {
    this.#options = options;
    this.node = options.config.node;
  }

  /** Takes up every VM that a previous run protected or held on standby. One that fails is shown, with the reason. */
  async recover(): Promise<void> {
    const root = join(this.#options.config.dataDir, 'vms');
    mkdirSync(root, { recursive: true, mode: 0o700 });
    for (const vm of readdirSync(root)) await (await this.#slot(vm)).recover();
    for (const [vm, { spec }] of Object.entries(this.#options.config.vms))
      if (spec.hypervisor === 'xen' && spec.disk !== undefined) await (await this.#slot(vm)).serveDisk(spec);
  }

  /** The VMs that this host's watchdog is fed for. */
  watched(): Dependents {
    const all = [...this.#open.values()].flatMap((slot) => slot.replica?.watched() ?? []);
    const counting = all.filter(({ counts }) => counts);
    return { count: counting.length, mayLive: counting.every(({ mayLive }) => mayLive) };
  }

  statuses(): VmStatus[] {
    const all = [...this.#open.values()].map((slot) => slot.status());
    return all.filter((status) => status !== undefined).sort((a, b) => a.vm.localeCompare(b.vm));
  }

  status(vm: string): VmStatus {
    const found = this.#open.get(vm)?.status();
    if (found === undefined) throw this.#unknown(vm);
    return found;
  }

  /** A standby's newest epoch as a file for the hypervisor's own tools; VM_BUSY once the guest runs here. */
  async exportCheckpoint({ vm, path }: ExportRequest): Promise<ExportResult> {
    const standby = this.#open.get(vm)?.standby;
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
    const standby = this.#open.get(vm)?.standby;
    if (standby === undefined) throw this.#unknown(vm);
    return standby.verify();
  }

  async protect(request: ProtectRequest): Promise<VmStatus> {
    const { vm } = request;
    const record = this.#wanted(request);
    await (await this.#slot(vm)).protect(record);
    return this.status(vm);
  }

  async unprotect(vm: string): Promise<VmStatus> {
    const slot = this.#open.get(vm);
    if (slot?.status() === undefined) throw this.#unknown(vm);
    return slot.unprotect();
  }

  async failover(request: FailoverRequest): Promise<FailoverResult> {
    const { vm } = request;
    const slot = this.#open.get(vm);
    if (slot?.standby !== undefined) return slot.standby.failover(request);
    if (slot?.replica === undefined) throw this.#unknown(vm);
    const { peer, state } = slot.replica.status();
    throw new RomulusError('PRIMARY_ALIVE', `${vm} runs on this host, which is its primary (${state})`, {
      hint: `to move it: romulus switchover ${vm}; if this host must give it up, stop the guest here, then on ${peer}: romulus failover ${vm}`,
    });
  }

  /** The operator says that this host owns the VM, whatever the witness lost or the backup may hold. */
  async confirm(vm: string, term?: number): Promise<VmStatus> {
    const { authority } = this.#replica(vm);
    await authority.confirm(term ?? authority.state.term);
    return this.status(vm);
  }

  /** Pauses the guest here and lets the backup go on with it. */
  async switchover(vm: string, term?: number): Promise<VmStatus> {
    const { authority } = this.#replica(vm);
    await authority.switchover(term ?? authority.state.term);
    return this.status(vm);
  }

  /** The standby a primary's hello is for; made when it is the first. Refuses a VM that this host itself runs. */
  async standbyFor(hello: Hello): Promise<Standby> {
    return (await this.#slot(hello.vm)).standbyFor(hello);
  }

  /** Lets go of everything; guests, images and standby hypervisors stay. */
  async close(): Promise<void> {
    await Promise.all([...this.#open.values()].map((slot) => slot.close()));
  }

  #replica(vm: string): Replica {
    const slot = this.#open.get(vm);
    if (slot?.replica !== undefined) return slot.replica;
    if (slot?.status() === undefined) throw this.#unknown(vm);
    throw new RomulusError('VM_BUSY', `${vm} does not run on this host`, {
      hint: `on ${slot.status()?.peer || 'the other host'}: romulus status ${vm}`,
    });
  }

  /** What the request and this host's config say together; refused if it could not be kept. */
  #wanted({ vm, to, epochMs, epochMaxMs, window, failover, onBackupLoss }: ProtectRequest): ProtectionRecord {
    const { config, register, watchdogMs } = this.#options;
    const known = config.vms[vm];
    if (known === undefined) throw this.#unknown(vm);
    const peer = config.peers[to];
    if (peer === undefined) {
      throw new RomulusError('PEER_UNKNOWN', `no peer is named "${to}"`, {
        hint: `known peers: ${Object.keys(config.peers).join(', ') || 'none'}; add it under peers: in agent.yaml`,
      });
    }
    const protection = {
      failover: failover ?? known.failover,
      onBackupLoss: onBackupLoss ?? known.onBackupLoss,
      silenceMs: config.silenceMs,
    };
    const fence = peer.fence !== undefined || watchdogMs !== undefined;
    const policy = policyOf(protection, { witness: register !== undefined, fence });
    // The times follow from what was asked for, but whether it was asked for automatically must not be lost on the way.
    checkPolicy({ ...policy, failover: protection.failover }, sideEffects(known.spec));
    return {
      to,
      spec: known.spec,
      ...epochsOf({ epochMs, epochMaxMs }, known),
      windowEpochs: window ?? known.windowEpochs,
      protection,
      onGuestEnd: known.onGuestEnd,
    };
  }

  async #slot(vm: string): Promise<VmSlot> {
    let slot = this.#slots.get(vm);
    if (slot === undefined) {
      const { events } = this.#options;
      slot = VmSlot.open(vm, this.#options, (name, kind, fields) => events.emit(name, kind, fields));
      this.#slots.set(vm, slot);
    }
    const open = await slot;
    this.#open.set(vm, open);
    return open;
  }

  #unknown(vm: string): RomulusError {
    return unknownVm(vm, Object.keys(this.#options.config.vms));
  }
}

/** Lengths asked for go before the config's; one that is asked for alone is kept to. */
function epochsOf(
  asked: { epochMs: number | undefined; epochMaxMs: number | undefined },
  known: VmConfig,
): { epochMs: number; epochMaxMs: number } {
  const epochMs = asked.epochMs ?? known.epochMs;
  const epochMaxMs = asked.epochMaxMs ?? asked.epochMs ?? known.epochMaxMs;
  return { epochMs, epochMaxMs: Math.max(epochMs, epochMaxMs) };
}
