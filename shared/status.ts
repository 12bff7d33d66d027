/** What an agent tells about itself, its VMs and its events over the local API; fields are only ever added. */

import type { ErrorCode } from './errors.ts';
import type { HypervisorKind, ProtectionState } from './vm.ts';
import type { CopyCounts, CopyUse } from './wire/copies-choice.ts';

/** One VM as one agent sees it. Durations in ms, sizes in bytes. */
export interface VmStatus {
  vm: string;
  role: 'primary' | 'backup';
  state: ProtectionState;
  /** Why the state is not what it should be. */
  reason?: string;
  /** The next command to run about `reason`. */
  hint?: string;
  /** Name of the other node. */
  peer: string;
  hypervisor: HypervisorKind;
  /** How dirty pages are found; 'full-compare' where the kernel cannot tell. Primary only. */
  tracking?: string;
  term: number;
  /** Phase of the authority machine on this side, as docs/safety.md names it. */
  authority?: string;
  /** `auto`: the backup promotes itself when this VM's host dies. */
  failover?: 'auto' | 'manual';
  /** Why failover is by hand only although nobody asked for that. */
  manualBecause?: string;
  onBackupLoss?: 'solo' | 'freeze' | 'hold';
  /** Last epoch ended here (primary) or committed here (backup). */
  epoch: number;
  ackedEpoch: number;
  /** Length of an epoch now; longer than asked for under back-pressure. */
  epochMs: number;
  windowEpochs: number;
  /** The initial full copy, while it runs. */
  sync?: {
    percent: number;
    sentBytes: number;
    round: number;
    /** Of a replicated disk, which is copied first. */
    disk?: { percent: number; sentBytes: number };
  };
  pauseMs?: { p50: number; p99: number; last: number };
  dirtyPages?: { last: number; p50: number };
  /** Page-granular bytes of all dirty pages so far. */
  rawBytes: number;
  /** Bytes that went over the wire for them. */
  wireBytes: number;
  /** From the end of an epoch to its acknowledgement. */
  commitMs?: { p50: number; p99: number };
  lastAckAgeMs?: number;
  /** Network output held until its epoch is acknowledged, over all devices; `oldestMs` is the longest wait so far. */
  held?: { packets: number; bytes: number; oldestMs: number };
  /** The replicated disk: copied by the last synchronisation, and what may differ from the backup's now. Primary only. */
  disk?: { copiedBytes: number; dirtyBytes: number; runningBytes: number };
  /** Compression in use, chosen by link rate and processor time; `ratio` is compressed bytes per byte. Primary only. */
  compression?: {
    tier: string;
    linkBitsPerS: number;
    linkMeasured: boolean;
    ratio: number;
    /** Content that the backup has at another address, since the start: pages with such, bytes of their deltas saved by it. */
    copies?: CopyCounts & { use: CopyUse; indexBytes: number };
  };
  memoryBytes?: { shadow?: number; image?: number };
  guest?: 'running' | 'paused' | 'shutdown' | 'panicked' | 'gone';
  /** When the VM came into this state, ISO 8601. */
  since: string;
}

/** GET /v1/status */
export interface AgentStatus {
  node: string;
  version: string;
  vms: VmStatus[];
  /** Certificates in use; none without TLS. */
  certificates?: CertificateStatus[];
}

/** One certificate of this node: its own, or the CA's. */
export interface CertificateStatus {
  name: 'node' | 'ca';
  path: string;
  /** ISO 8601. */
  expiresAt: string;
  /** Whole days left, negative when it has expired. */
  expiresDays: number;
  /** It ends soon: make a new one now. */
  renew: boolean;
}

/** POST /v1/protect */
export interface ProtectRequest {
  vm: string;
  to: string;
  epochMs?: number;
  epochMaxMs?: number;
  window?: number;
  failover?: 'auto' | 'manual';
  onBackupLoss?: 'solo' | 'freeze' | 'hold';
}

/** POST /v1/failover */
/** `path` is absolute, on the host of the agent. */
export interface ExportRequest {
  vm: string;
  format: 'xen';
  path: string;
}

export interface ExportResult {
  vm: string;
  /** The epoch that the file holds. */
  epoch: number;
  path: string;
  sizeBytes: number;
}

export interface FailoverRequest {
  vm: string;
  force?: boolean;
  fencedBy?: string;
  /** What the primary did alone since is given up. */
  acceptDataLoss?: boolean;
  /** The term the order was given under; in another one it is void. Default: the present one. */
  term?: number;
}

/** What a failover answers: the VM runs here, from this epoch on. */
export interface FailoverResult {
  vm: string;
  epoch: number;
  term: number;
  /** From the end of every wait to the running guest. */
  decisionToRunningMs: number;
  /** From the decision (the order, or the end of the silence) until the promise had run out and the register was won. */
  promiseWaitMs: number;
}

/** One line of GET /v1/events. */
export interface AgentEvent {
  /** ISO 8601. */
  time: string;
  vm: string;
  kind: string;
  [field: string]: unknown;
}

/** An error as the local API answers it. */
export interface ApiErrorBody {
  error: { code: ErrorCode; message: string; hint?: string };
}

/** States in which nothing is to be done; any other makes `status` exit 3. */
const soundStates: ReadonlySet<ProtectionState> = new Set(['PROTECTED', 'STANDBY', 'ACTIVE']);

export function isSound(status: Pick<VmStatus, 'state'>): boolean {
  return soundStates.has(status.state);
}
