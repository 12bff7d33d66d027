/** Random requests, seals and failures: what another disk is given by epochs is, at every commit, what this one held at its seal. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BLOCK_BYTES, TestDisk } from '../support/disk.ts';

const SIZE = 2 * 1024 * 1024 + 512;

type Step =
  | { kind: 'write' | 'trim' | 'zero'; offset: number; bytes: number; value: number }
  | { kind: 'seal' }
  | { kind: 'giveUp' };

const range = fc
  .tuple(fc.integer({ min: 0, max: SIZE - 1 }), fc.integer({ min: 1, max: 20 * BLOCK_BYTES }))
  .map(([offset, bytes]) => ({ offset, bytes: Math.min(bytes, SIZE - offset) }));
const change = fc.record({
  kind: fc.constantFrom('write' as const, 'write' as const, 'trim' as const, 'zero' as const),
  range,
  value: fc.integer({ min: 1, max: 255 }),
});
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 8,
    arbitrary: change.map(({ kind, range: { offset, bytes }, value }) => ({ kind, offset, bytes, value })),
  },
  { weight: 3, arbitrary: fc.constant({ kind: 'seal' as const }) },
  { weight: 1, arbitrary: fc.constant({ kind: 'giveUp' as const }) },
);

describe('epochs of a disk', () => {
  it('carry to another disk exactly what this one held at each seal', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), async (steps) => {
        const disk = new TestDisk(SIZE);
        const other = new TestDisk(SIZE);
        const client = await disk.client();
        const model = Buffer.alloc(SIZE);
        let epoch = 0;
        let sealed: Buffer | undefined;
        const commit = async () => {
          if (sealed === undefined) return;
          await other.disk.apply(await disk.takeAll());
          expect(other.bytes().equals(sealed)).toBe(true);
          disk.disk.commit(epoch);
          sealed = undefined;
        };
        try {
          for (const each of steps) {
            if (each.kind === 'seal') {
              await commit();
              epoch += 1;
              disk.disk.seal(epoch);
              sealed = Buffer.from(model);
            } else if (each.kind === 'giveUp') {
              disk.disk.giveUp();
              sealed = undefined;
            } else {
              const { offset, bytes, value } = each;
              if (each.kind === 'write') await client.write(offset, Buffer.alloc(bytes, value));
              else if (each.kind === 'trim') await client.trim(offset, bytes);
              else await client.zero(offset, bytes);
              model.fill(each.kind === 'write' ? value : 0, offset, offset + bytes);
            }
          }
          await commit();
          epoch += 1;
          disk.disk.seal(epoch);
          await other.disk.apply(await disk.takeAll());
          expect(other.bytes().equals(model)).toBe(true);
          expect((await client.read(0, SIZE)).equals(model)).toBe(true);
        } finally {
          client.close();
          disk.dispose();
          other.dispose();
        }
      }),
      { numRuns: 40 },
    );
  });
});
