/**
 * When a host with a watchdog is to be reset, and when its peer may count on it (safety rule 15). While the agent does not
 * know that the VM is its own, it stops feeding the device; the hardware then ends host and side effects alike.
 */

import type { Policy } from './policy.ts';
import type { PrimaryState } from './primary-state.ts';

/**
 * Whether this primary's host may be kept alive. Either the register says that the VM is this node's alone, or the peer,
 * which could promote itself, was heard lately enough to count from then.
 */
export function mayLive(state: PrimaryState, nowMs: number): boolean {
  switch (state.phase) {
    case 'SOLO':
    case 'ENDED':
    case 'HANDED':
    case 'FENCED': // one whose guest could not be ended is told apart by its driver
      return true;
    case 'STARTING': // a predecessor may have been promoted over: its own time goes on
      return false;
    case 'JOINING':
    case 'PROTECTED':
    case 'LEAVING':
    case 'HANDING':
      return nowMs - state.heardMs < state.policy.isolateAfterMs;
  }
}

/**
 * From then on, by the backup's clock, a primary heard last at `heardMs` has been reset: the primary heard nothing later
 * from here, feeds its watchdog no longer than isolateAfterMs from then, and that ends the host within `watchdogMs`.
 */
export function resetByMs(policy: Policy, heardMs: number, watchdogMs: number): number {
  const { isolateAfterMs, driftRatio, marginMs } = policy;
  return heardMs + (isolateAfterMs + watchdogMs) * (1 + driftRatio) + marginMs;
}
