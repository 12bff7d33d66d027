/** The output gate: holds what the guest sends until the epoch it was sent in is safe on the backup. */

import type { Epoch } from '../../shared/vm.ts';

/** Output held back; sizes in bytes. */
export interface Held {
  packets: number;
  bytes: number;
  /** How long the oldest has waited; 0 when nothing is held. */
  oldestMs: number;
}

/**
 * One gate per network device, shut from the start. It works outside the JavaScript event loop, and shuts by itself when
 * this process dies. What comes in for the guest passes at once, always.
 */
export interface OutputGate {
  /** The device, for logs: "relay tap0". */
  readonly name: string;
  /** How many epochs may be sealed and not yet released. */
  readonly maxEpochs: number;
  /** Takes up the guest, which runs by now; called again for each new hypervisor process. */
  attach(): void;
  /**
   * Called while the guest is paused: everything it has sent so far belongs to `epoch`, everything later to the next.
   * Ends openUnprotected(). An epoch given up and captured anew is sealed again under the same number.
   */
  seal(epoch: Epoch): void;
  /**
   * Lets out what belongs to `epoch` and earlier, as long as CLOCK_BOOTTIME (`engine().bootTimeMs()`) is below
   * `permitUntilMs`; the gate itself looks at the clock (safety rule 8). Later, what is left waits for another permit.
   */
  release(epoch: Epoch, permitUntilMs: number): void;
  /** Lets everything out at once, now and until seal() or close(): the VM is not protected, or runs alone by right. */
  openUnprotected(): void;
  /** Nothing leaves and permits are void; what is held stays held. */
  close(): void;
  /** Throws away what is held: the guest is fenced. */
  discard(): void;
  held(): Held;
  /** Calls back when half of a bound is reached: epochs must be shorter, or the guest slower. At the bound its sending waits. */
  onPressure(listener: () => void): void;
  /** Lets go. The relay's guest is then without a network until the next attach. */
  detach(): void;
}

/** Sum over devices, for `status`; undefined for a guest without a gate. */
export function heldBy(gates: readonly OutputGate[]): Held | undefined {
  if (gates.length === 0) return undefined;
  const all = gates.map((gate) => gate.held());
  return {
    packets: all.reduce((sum, held) => sum + held.packets, 0),
    bytes: all.reduce((sum, held) => sum + held.bytes, 0),
    oldestMs: Math.round(Math.max(...all.map((held) => held.oldestMs)) * 10) / 10,
  };
}
