/** What a standby is told of its VM and its host. */

import type { RegisterState, WitnessRegister } from '../shared/control/register.ts';
import type { TermFile } from '../shared/control/terms.ts';
import type { HostDisk } from '../shared/disk/host-disk.ts';
import type { Logger } from '../shared/log.ts';
import type { VmSpec } from '../shared/vm.ts';
import type { FenceCommand } from './fence.ts';
import type { Target } from './hypervisor/target.ts';
import type { Durability } from './image/journal.ts';

export interface StandbyOptions {
  node: string;
  vm: string;
  dataDir: string;
  imageDir: string;
  runDir: string;
  threads: number;
  durability: Durability;
  /** Paths that differ on this host from those the primary named. */
  overrides: Partial<VmSpec>;
  openTarget(spec: VmSpec): Promise<Target>;
  /** The guest's disk on this host, made of `createBytes` if it is not there; undefined for a guest without one. */
  openDisk?(spec: VmSpec, createBytes?: number): HostDisk | undefined;
  term: TermFile;
  /** undefined: this host asks no witness, and promotes by order only. */
  register?: WitnessRegister;
  /** How to prove a peer dead, where the config says how. */
  fenceOf?(peer: string): FenceCommand | undefined;
  log: Logger;
  onEvent(kind: string, fields: Record<string, unknown>): void;
  /** The guest runs here now, and is to be protected from here. */
  onPromoted?(register: RegisterState | undefined): void;
}
