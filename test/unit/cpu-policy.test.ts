/** A host must offer every CPU feature a guest was told of, and may offer more. */

import { describe, expect, it } from 'vitest';
import { missingFeatures } from '../../shared/hypervisor/cpu-policy.ts';

type Leaf = [leaf: number, subleaf: number, eax: number, ebx: number, ecx: number, edx: number];
const NO_SUBLEAF = 0xffffffff;

function policy(...leaves: Leaf[]): Buffer {
  return Buffer.from(Uint32Array.from(leaves.flat()).buffer);
}

const AVX2 = 1 << 5;
const AVX512F = 1 << 16;
const guest = policy(
  [0x1, NO_SUBLEAF, 0xa20f10, 0, 0x80000201, 0x178bfbff],
  [0x7, 0, 1, AVX2, 0, 0],
  [0x80000001, NO_SUBLEAF, 0, 0, 0x75, 0x2fd3fbff],
);

describe('the CPU features of a guest', () => {
  it('are all offered by the policy the guest has', () => {
    expect(missingFeatures(guest, guest)).toEqual([]);
  });

  it('may be fewer than the host offers', () => {
    const host = policy(
      [0x1, NO_SUBLEAF, 0, 0, 0xffffffff, 0xffffffff],
      [0x7, 0, 2, AVX2 | AVX512F, 0xff, 0xff],
      [0x80000001, NO_SUBLEAF, 0, 0, 0xffffffff, 0xffffffff],
    );
    expect(missingFeatures(guest, host)).toEqual([]);
    expect(missingFeatures(host, guest)).toContain('leaf 0x7.0 ebx bits 0x10000');
  });

  it('are missing where the host has not even the leaf', () => {
    const host = policy([0x1, NO_SUBLEAF, 0, 0, 0x80000201, 0x178bfbff]);
    expect(missingFeatures(guest, host)).toEqual([
      'leaf 0x7.0 ebx bits 0x20',
      'leaf 0x80000001 ecx bits 0x75',
      'leaf 0x80000001 edx bits 0x2e500800',
    ]);
  });

  it('are not what a host says about counts or about what its FPU leaves out', () => {
    const count = policy([0x1, NO_SUBLEAF, 0, 0, 1 << 27, 1 << 28], [0x7, 0, 0, (1 << 6) | (1 << 13), 0, 0]);
    expect(missingFeatures(count, policy())).toEqual([]);
  });
});
