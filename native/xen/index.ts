/**
 * Typed facade of the Xen addon: the only file that loads it. All calls of one domain run one after another, off the event
 * loop; those that take microseconds while the guest is suspended are done at once.
 */

import { createRequire } from 'node:module';
import { RomulusError } from '../../shared/errors.ts';

/** `pages` guest frames from `gfn` on, whose pages lie from `page` on in the compact index space. */
export interface XenRegion {
  gfn: number;
  page: number;
  pages: number;
}

/** CPU and platform state of the suspended guest, as bodies of records of Xen's stream. */
export interface XenCpuState {
  /** HVM_CONTEXT. */
  context: Buffer;
  /** HVM_PARAMS without its head: pairs of u64 (index, value), the non-zero ones. */
  params: Buffer;
  /** X86_TSC_INFO. */
  tsc: Buffer;
  /** Bits of the index space: pages without a frame behind them at this epoch. */
  absent: Buffer;
}

export interface XenDomainInfo {
  /** Xen's shutdown reason: 0 power-off, 1 reboot, 2 suspend, 3 crash; null while the guest is up. */
  shutdown: number | null;
  paused: boolean;
  memoryBytes: number;
}

/** Errors carry an errno name as `code`: ESHUTDOWN the guest shut down, ETIMEDOUT it did not suspend, ENOENT no such domain. */
export interface XenDomain {
  readonly regions: XenRegion[];
  /** Pages of the index space; a multiple of 64. */
  readonly pages: number;
  /** Where the index space is mapped in this process, until close(). */
  readonly address: bigint;
  readonly cpus: number;
  /** "4.17" */
  readonly xenVersion: string;
  /** False while the guest balloons: then its memory is mapped anew by each takeDirty() or suspend(), until resume(). */
  readonly standing: boolean;
  /** Stops the guest and no more, for what must be done before suspend() goes on from there. */
  halt(limitMs: number): Promise<void>;
  /** What the guest's device model keeps in xenstore of where its memory lies, as the body of EMULATOR_XENSTORE_DATA without its head. */
  modelStore(): Promise<Buffer>;
  /** Stops the guest, reads its dirty bitmap and captures its state. */
  suspend(limitMs: number): Promise<void>;
  /** Bits of the index space, u64 words: written since the last call, all set at first. The guest may run. */
  takeDirty(): Promise<Buffer>;
  /** As of the last suspend(). */
  state(): Promise<XenCpuState>;
  /** X86_CPUID_POLICY and X86_MSR_POLICY; they never change while the domain lives. */
  policies(): Promise<{ leaves: Buffer; msrs: Buffer }>;
  resume(): Promise<void>;
  /** From the moment the guest was seen suspended until resume() asked Xen to let it go; of the last time. */
  readonly downMs: number;
  /**
   * A baseline to measure against: copies pages of the suspended guest (as takeDirty() names them) the way libxc's save does,
   * mapping and unmapping them for this alone. Returns how many it copied.
   */
  copyByMapping(pages: Buffer): Promise<number>;
  info(): Promise<XenDomainInfo>;
  /** Log-dirty off, suspend subscription undone, guest memory unmapped; the guest runs on. */
  close(): Promise<void>;
}

export interface XenBinding {
  /** Undoes what a killed predecessor left, switches dirty tracking on and maps the guest. ENOTSUP for a PV guest, EAGAIN for an HVM guest in its firmware. */
  openDomain(domid: number): Promise<XenDomain>;
  /** The most CPU features this host may offer a guest, and whether Xen would take the policy of a guest from elsewhere. */
  hostPolicy(leaves: Buffer, msrs: Buffer): Promise<{ leaves: Buffer; takesGuest: boolean }>;
}

let loaded: XenBinding | undefined;
/** Loaded on first use: most hosts have no Xen, and `romulus doctor` explains it. */
export function xenBinding(): XenBinding {
  try {
    loaded ??= createRequire(import.meta.url)('#xen') as XenBinding;
  } catch (cause) {
    throw new RomulusError('PREREQUISITE', 'the Xen addon is not built or finds no Xen libraries', {
      hint: 'apt-get install libxen-dev && npm run build:xen',
      cause,
    });
  }
  return loaded;
}
