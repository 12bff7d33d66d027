/** Builds the two roles of a VM on this host, primary and backup, from config, records and what the host shares. */

import { join } from 'node:path';
import { openTarget } from '../../backup/hypervisor/open.ts';
import { Standby } from '../../backup/standby.ts';
import type { StandbyOptions } from '../../backup/standby-options.ts';
import { preloadPath } from '../../native/preload.ts';
import { openSource } from '../../primary/hypervisor/open.ts';
import { DiskStream } from '../../primary/output/disk.ts';
import type { OutputGate } from '../../primary/output/gate.ts';
import { Replica } from '../../primary/replica.ts';
import type { AgentConfig, GuestEndPolicy, VmConfig } from '../../shared/config.ts';
import type { ProtectionChoice } from '../../shared/control/policy.ts';
import type { WitnessRegister } from '../../shared/control/register.ts';
import { sideEffects } from '../../shared/control/side-effects.ts';
import type { TermFile } from '../../shared/control/terms.ts';
import { HostDisk } from '../../shared/disk/host-disk.ts';
import { RomulusError } from '../../shared/errors.ts';
import { diskSocket } from '../../shared/hypervisor/qemu-args.ts';
import type { Logger } from '../../shared/log.ts';
import type { AgentTlsOptions } from '../../shared/tls.ts';
import { dialWith } from '../../shared/tls-identity.ts';
import type { VmSpec } from '../../shared/vm.ts';

/** Bound of the copy of a disk whose guest the config no longer names, in bytes a second. */
const DISK_COPY_BYTES_PER_S = 128 * 1024 * 1024;

/** What all VMs of a host share. */
export interface HostParts {
  config: AgentConfig;
  /** Asked for each connection. */
  tls?: () => AgentTlsOptions;
  register?: WitnessRegister;
  /** Time after which this host's watchdog resets it, where it has one. */
  watchdogMs?: number;
  log: Logger;
}

/** What a restarted agent must know to go on protecting a VM. */
export interface ProtectionRecord {
  to: string;
  spec: VmSpec;
  epochMs: number;
  epochMaxMs?: number;
  windowEpochs: number;
  protection: ProtectionChoice;
  onGuestEnd: GuestEndPolicy;
}

type OnEvent = (kind: string, fields: Record<string, unknown>) => void;

export async function buildReplica(
  { config, tls, register, watchdogMs, log }: HostParts,
  record: ProtectionRecord,
  own: { term: TermFile; gates: readonly OutputGate[]; disk: HostDisk | undefined; onEvent: OnEvent },
): Promise<Replica> {
  const { spec, to, epochMs, epochMaxMs, windowEpochs, protection, onGuestEnd } = record;
  const { disk, ...rest } = own;
  const peer = config.peers[to];
  if (peer === undefined) {
    throw new RomulusError('PEER_UNKNOWN', `no peer is named "${to}" any more`, {
      hint: 'add it under peers: in agent.yaml',
    });
  }
  const source = await openSource(spec, { runDir: config.runDir, preloadPath: preloadPath() });
  return new Replica(source, {
    node: config.node,
    spec,
    peer: to,
    address: peer.address,
    ...(tls && { tls: dialWith(tls, to) }),
    epochMs,
    ...(epochMaxMs !== undefined && { epochMaxMs }),
    ...paceOf(config.vms[spec.name]),
    windowEpochs,
    threads: config.threads,
    protection,
    onGuestEnd,
    ...(register && { register }),
    fence: peer.fence !== undefined,
    // What waits at the gate needs no proof: a failover must not wait for one.
    ...(watchdogMs !== undefined && sideEffects(spec).length > 0 && { watchdogMs }),
    log,
    ...(disk && {
      disk: new DiskStream(disk, config.vms[spec.name]?.diskCopyBytesPerS ?? DISK_COPY_BYTES_PER_S),
    }),
    ...rest,
  });
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

/** The guest's disk on this host, in either role; undefined for a guest without one. */
export function openHostDisk(
  { config, log }: HostParts,
  spec: VmSpec,
  createBytes?: number,
): HostDisk | undefined {
  const { name, disk: path, hypervisor } = spec;
  if (path === undefined || hypervisor === 'replay') return undefined;
  return new HostDisk({
    vm: name,
    path,
    mapPath: join(vmDir(config, name), 'disk.map'),
    socketPath: diskSocket(join(config.runDir, name)),
    ...(createBytes !== undefined && { createBytes }),
    blockDevice: hypervisor === 'xen',
    log,
  });
}

export function buildStandby(
  { config, register, log }: HostParts,
  vm: string,
  own: Pick<StandbyOptions, 'term' | 'onEvent' | 'onPromoted' | 'openDisk'>,
): Standby {
  return new Standby({
    node: config.node,
    vm,
    dataDir: vmDir(config, vm),
    imageDir: imageDir(config, vm),
    runDir: join(config.runDir, vm),
    threads: config.threads,
    durability: 'memory',
    overrides: localPaths(config.vms[vm]?.spec),
    openTarget: (spec) => openTarget(spec, { preloadPath: preloadPath() }),
    ...(register && { register }),
    fenceOf: (peer) => config.peers[peer]?.fence,
    log,
    ...own,
  });
}

/** Records of a VM that must survive a reboot. */
export function vmDir(config: AgentConfig, vm: string): string {
  return join(config.dataDir, 'vms', vm);
}

/** Where a primary keeps what it protects, and how. */
export function protectionPath(config: AgentConfig, vm: string): string {
  return join(vmDir(config, vm), 'protection.json');
}

export function imageDir(config: AgentConfig, vm: string): string {
  return join(config.imageDir, vm);
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
