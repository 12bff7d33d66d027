/** Property: a Xen guest's state survives packing, whatever frames are absent. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { packXenState, unpackXenState } from '../../shared/hypervisor/xen-state.ts';

const bytes = (max: number) => fc.uint8Array({ maxLength: max }).map((array) => Buffer.from(array));

const state = fc
  .record({
    words: fc.integer({ min: 1, max: 16 }),
    // Mostly whole bytes of ones or zeros: the runs that ballooning makes.
    absent: fc.array(fc.oneof(fc.constantFrom(0, 0xff), fc.integer({ min: 0, max: 0xff })), {
      minLength: 128,
      maxLength: 128,
    }),
    leaves: bytes(64),
    msrs: bytes(64),
    tsc: bytes(24),
    context: bytes(512),
    params: bytes(64),
    config: fc.string(),
  })
  .map(({ words, absent, ...rest }) => ({
    ...rest,
    xenVersion: '4.17',
    regions: [{ gfn: 0, page: 0, pages: words * 64 }],
    absent: Buffer.from(absent.slice(0, words * 8)),
  }));

describe('the state of a Xen guest', () => {
  it('comes out of packing as it went in', () => {
    fc.assert(
      fc.property(state, (before) => {
        const after = unpackXenState(packXenState(before));
        for (const key of ['absent', 'leaves', 'msrs', 'tsc', 'context', 'params'] as const)
          expect(after[key].equals(before[key])).toBe(true);
        expect(after).toMatchObject({ config: before.config, regions: before.regions });
      }),
      { numRuns: 300 },
    );
  });

  it('is refused, never half read, when bytes of it are lost', () => {
    fc.assert(
      fc.property(state, fc.nat(), (before, at) => {
        const packed = packXenState(before);
        const cut = packed.subarray(0, at % packed.length);
        expect(() => unpackXenState(cut)).toThrow(/not the state of a Xen guest/);
      }),
      { numRuns: 300 },
    );
  });
});
