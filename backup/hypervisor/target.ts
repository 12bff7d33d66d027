/** What the backup needs of a hypervisor: a standby made ready in advance, and its start from image and state. */

import type { Geometry, HypervisorKind, VmSpec } from '../../shared/vm.ts';
import type { FollowedImage } from '../image/followed-image.ts';

export interface StandbyFiles {
  /** The standby image: guest memory, page p at p * 4096. */
  imagePath: string;
  /** Directory for the hypervisor's sockets and logs; survives the agent. */
  runDir: string;
  /** Absent where nothing is being applied, as when a guest is only taken up. */
  image?: FollowedImage;
}

export interface Target {
  readonly kind: HypervisorKind;
  /** Refuses, with HV_UNSUPPORTED, a guest that this host could not run. */
  check(spec: VmSpec, geometry: Geometry): Promise<void>;
  /**
   * Makes a standby ready on the image, which it maps and must not touch before start(). Takes up one
   * that a killed predecessor made ready; a guest that runs there is stale (this host is its backup now)
   * and is ended. May be called while epochs are being applied.
   */
  prepare(spec: VmSpec, files: StandbyFiles): Promise<void>;
  /** Loads CPU and device state from a file and lets the guest run; resolves when its vCPUs run. */
  start(statePath: string): Promise<void>;
  /** Finds what an earlier run of the agent left, and starts nothing: a standby that waits, or a guest that was let run. */
  takeUp(spec: VmSpec, files: StandbyFiles): Promise<'gone' | 'waiting' | 'running'>;
  /** Lets go when the agent ends in good order; the standby or the promoted guest stays for the next one. */
  release?(): Promise<void>;
  /** Ends the standby or the promoted guest. */
  stop(): Promise<void>;
  /** True while the prepared or started hypervisor process lives. */
  alive(): Promise<boolean>;
}
