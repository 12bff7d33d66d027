/** When guests run without KVM, and what is said of it. */

import { afterEach, describe, expect, it, vi } from 'vitest';
import { hasVirtualization, kvmMissing } from '../../shared/hypervisor/kvm.ts';

describe('KVM', () => {
  afterEach(() => vi.unstubAllEnvs());

  it('counts only where the processor itself virtualizes', () => {
    expect(hasVirtualization('flags\t\t: fpu vme svm avx2\n')).toBe(true);
    expect(hasVirtualization('flags\t\t: fpu vmx\n')).toBe(true);
    expect(hasVirtualization('model name\t: svm\nflags\t\t: fpu svm_lock avx2\n')).toBe(false);
  });

  it('is taken or left as the environment says', () => {
    vi.stubEnv('ROMULUS_ACCEL', 'tcg');
    expect(kvmMissing()).toMatch(/ROMULUS_ACCEL/);
    vi.stubEnv('ROMULUS_ACCEL', 'kvm');
    expect(kvmMissing()).toBeUndefined();
  });
});
