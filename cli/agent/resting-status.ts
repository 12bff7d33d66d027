/** The status of a VM that this host holds in neither role. */

import type { RomulusError } from '../../shared/errors.ts';
import type { VmStatus } from '../../shared/status.ts';

/** `error` says why, and in its hint what to do. */
export function restingStatus(vm: string, role: VmStatus['role'], error: RomulusError, term = 0): VmStatus {
  return {
    vm,
    role,
    state: error.code === 'TERM_STALE' ? 'FENCED' : 'DEGRADED',
    reason: error.message,
    ...(error.hint && { hint: error.hint }),
    peer: '',
    hypervisor: 'qemu',
    term,
    epoch: 0,
    ackedEpoch: 0,
    epochMs: 0,
    windowEpochs: 0,
    rawBytes: 0,
    wireBytes: 0,
    since: new Date().toISOString(),
  };
}
