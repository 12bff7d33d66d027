/** Plain values both sides speak of: a VM's description, its geometry, epochs, and the states of its protection. */

export const PAGE_BYTES = 4096;

/** Epochs count from 1 within one lineage; 0 means "nothing committed". Safe integers: 2^53 epochs of 1 ms are 285,000 years. */
export type Epoch = number;

export type HypervisorKind = 'qemu' | 'xen' | 'replay';

/** What the standby must match for an image to be of any use to it. */
export interface Geometry {
  /** 'x86_64', 'aarch64' */
  arch: string;
  /** Bytes of the guest-memory index space: page p lives at p * 4096. Holes stay zero. */
  ramBytes: number;
  cpus: number;
  /** Hypervisor build that wrote the device state, as it reports itself ("qemu 7.2.22/kvm"). */
  hypervisor: string;
  /** Of a Xen guest: what its processors were said to be, in the bodies that Xen's stream has for it, base64. */
  cpuPolicy?: { leaves: string; msrs: string };
  /** Of a Xen guest that has one: its device model, as it reports itself ("qemu 7.2.22/xen"). */
  deviceModel?: string;
}

/** One network device of a guest, and the tap of the host through which it reaches the world. */
export interface NetworkSpec {
  /** Tap of this host, at most 15 bytes; each host may name its own. Made unless it is there. */
  tap: string;
  /** Bridge the tap is joined to; without it whoever made the tap sees to that. */
  bridge?: string;
  /** The same on both hosts: clients go on talking to it after a failover. */
  mac: string;
  /** The guest's addresses, if they are known: announced after a failover besides the MAC. */
  addresses?: string[];
}

/** How a guest is described in a config file, and how that description travels to the backup. */
export interface VmSpec {
  name: string;
  hypervisor: HypervisorKind;
  memoryBytes: number;
  cpus: number;
  kernel?: string;
  initrd?: string;
  append?: string;
  disk?: string;
  /** Network devices, behind the output gate. */
  networks?: NetworkSpec[];
  /** QEMU machine type; the default is q35. */
  machine?: string;
  /** Handed to the hypervisor as they are. */
  extraArgs?: string[];
  /** File that receives the guest's first serial line; each side appends to its own. */
  serialLog?: string;
  /** Attach to a QEMU somebody else started, through this QMP socket. */
  attachQmp?: string;
}

/** Where a protection stands, as `status` shows it. Only PROTECTED means that a host may die. */
export const protectionStates = [
  'STARTING',
  'SYNCING',
  'PROTECTED',
  'DEGRADED' /* the guest runs on, unprotected; `reason` says why */,
  'STANDBY' /* backup side: image at a committed epoch */,
  'PROMOTING',
  'ACTIVE' /* backup side: promoted, runs the guest */,
  'SWITCHING' /* primary side: paused, being handed to the backup */,
  'FENCED' /* primary side: a higher term exists; the guest is paused for good */,
  'ENDED',
] as const;
export type ProtectionState = (typeof protectionStates)[number];
