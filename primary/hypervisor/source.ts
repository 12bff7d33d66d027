/** What the epoch loop needs of a hypervisor on the primary; one implementation a file, one contract test for all. */

import type { DirtyBitmap, Memory } from '../../native/index.ts';
import type { Geometry, HypervisorKind } from '../../shared/vm.ts';

/** How dirty pages are found; `full-compare` means the host cannot tell and every page is compared each epoch. */
export type DirtyTracking = 'pagemap-scan' | 'full-compare' | 'log-dirty' | 'trace';

/** 'running' and 'paused' are alive; the others end protection, each for its own reason. */
export type GuestState = 'running' | 'paused' | 'shutdown' | 'panicked' | 'gone';

export interface Source {
  readonly kind: HypervisorKind;
  /** Valid after attach(). */
  readonly geometry: Geometry;
  readonly tracking: DirtyTracking;
  /** Guest memory, mapped; valid from attach() to detach(). Read it only while paused, or expect torn pages. */
  readonly memory: Memory;

  /**
   * Starts the guest or takes up a running one, and starts dirty tracking. A guest that a killed
   * predecessor left paused in the middle of a checkpoint runs again afterwards. With `mayStart: false` a
   * guest that is not running is HV_GUEST_GONE: after a restart nobody starts a protected guest by himself,
   * since it may run elsewhere (safety rule 17).
   */
  attach(options?: { mayStart?: boolean }): Promise<void>;
  /** Stops all vCPUs and drains device I/O. */
  pause(): Promise<void>;
  /**
   * ORs the pages written since the last call into `into` and starts afresh; the bits then belong to the
   * caller. After attach() the first call yields every page. Returns how many pages were added.
   */
  takeDirty(into: DirtyBitmap): Promise<number>;
  /** CPU and device state of the paused guest; at most MAX_STATE_BYTES. */
  deviceState(): Promise<Buffer>;
  /** Lets the guest run, once a deviceState() that is still under way has its state: no need to wait for that first. */
  resume(): Promise<void>;
  /** A higher term exists: stops the guest for good, so that neither a restart of the agent nor its death lets it run again. */
  fence(): Promise<void>;
  guestState(): Promise<GuestState>;
  /** Called once if the guest ends by itself while attached. */
  onGuestEnd(listener: (state: GuestState) => void): void;
  /** Stops tracking and lets go; the guest runs on. */
  detach(): Promise<void>;
}
