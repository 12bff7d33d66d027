/** What a replica is told of its VM, its peer and its epochs, and what follows from that for pacer and lineage. */

import type { ConnectionOptions } from 'node:tls';
import type { Endpoint } from '../shared/config/endpoint.ts';
import type { GuestEndPolicy } from '../shared/config.ts';
import type { ProtectionChoice } from '../shared/control/policy.ts';
import type { WitnessRegister } from '../shared/control/register.ts';
import type { TermFile } from '../shared/control/terms.ts';
import type { Logger } from '../shared/log.ts';
import type { VmSpec } from '../shared/vm.ts';
import type { PrimaryOrigin } from './authority-driver.ts';
import { DEFAULT_PAUSE_SHARE } from './epoch/epoch-length.ts';
import { Pacer } from './epoch/pacer.ts';
import type { LineageLimits } from './lineage.ts';
import type { DiskStream } from './output/disk.ts';
import type { OutputGate } from './output/gate.ts';

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
  threads: number;
  /** What the config says of failover and of loss; both sides go by it. */
  protection: ProtectionChoice;
  /** What is done when the guest ends by itself. */
  onGuestEnd?: GuestEndPolicy;
  term: TermFile;
  /** undefined: failover is by hand only. */
  register?: WitnessRegister;
  /** This node proves the peer dead before it serves, once it is the backup; for `status` alone here. */
  fence?: boolean;
  /** This host's watchdog counts for the VM: what the backup then waits for before it serves. */
  watchdogMs?: number;
  /** One per network device; this replica opens and shuts them, their owner detaches them. */
  gates?: readonly OutputGate[];
  /** The replicated disk, where the guest has one. */
  disk?: DiskStream;
  /** Bits per second of the link to the backup, where known; measured where not. */
  linkBitsPerS?: number;
  log: Logger;
  onEvent(kind: string, fields: Record<string, unknown>): void;
}

export interface StartOptions {
  mayStart?: boolean;
  origin?: PrimaryOrigin;
}

/** Without an upper bound the epoch keeps to its length. */
export function pacerOf(options: ReplicaOptions): Pacer {
  const {
    epochMs,
    epochMaxMs = epochMs,
    pauseShare = DEFAULT_PAUSE_SHARE,
    commitMaxMs,
    windowEpochs,
  } = options;
  return new Pacer({
    minMs: epochMs,
    maxMs: Math.max(epochMs, epochMaxMs),
    pauseShare,
    ...(commitMaxMs !== undefined && { commitMs: commitMaxMs }),
    windowEpochs,
  });
}

/** `gateEpochs`: most epochs whose output the gates tell apart. */
export function lineageLimitsOf(options: ReplicaOptions, gateEpochs: number): LineageLimits {
  const { threads, shadowShare, disk, windowEpochs } = options;
  return {
    threads,
    maxEpochs: Math.min(windowEpochs, gateEpochs),
    ...(shadowShare !== undefined && { shadowShare }),
    ...(disk && { disk }),
  };
}
