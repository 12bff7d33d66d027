import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { EpochWindow } from '../../primary/epoch/window.ts';

const window = (maxEpochs = 4, maxBytes = 1000) =>
  new EpochWindow<{ epoch: number; bytes: number }>({ maxEpochs, maxBytes });

describe('the window of unacknowledged epochs', () => {
  it('is full at its count and at its bytes, whichever comes first', () => {
    const counted = window(2);
    counted.add({ epoch: 1, bytes: 1 });
    expect(counted.full).toBe(false);
    counted.add({ epoch: 2, bytes: 1 });
    expect(counted.full).toBe(true);
    const weighed = window(10, 100);
    weighed.add({ epoch: 1, bytes: 100 });
    expect(weighed.full).toBe(true);
  });

  it('frees in order up to the acknowledged epoch, and nothing twice', () => {
    const some = window();
    for (const epoch of [1, 2, 3]) some.add({ epoch, bytes: 10 });
    expect(some.ack(2).map((item) => item.epoch)).toEqual([1, 2]);
    expect(some.ack(2)).toEqual([]);
    expect(some.ack(1)).toEqual([]);
    expect({ acked: some.acked, newest: some.newest, bytes: some.bytes }).toEqual({
      acked: 2,
      newest: 3,
      bytes: 10,
    });
  });

  it('refuses a gap, and an acknowledgement of what was never sent', () => {
    const some = window();
    expect(() => some.add({ epoch: 2, bytes: 1 })).toThrow('does not follow');
    some.add({ epoch: 1, bytes: 1 });
    expect(() => some.ack(2)).toThrow('newest sent');
  });

  it('resends exactly what the backup lacks', () => {
    const some = window();
    for (const epoch of [1, 2, 3]) some.add({ epoch, bytes: 1 });
    const plan = some.resumeFrom(2);
    expect(plan?.freed.map((item) => item.epoch)).toEqual([1, 2]);
    expect(plan?.resend.map((item) => item.epoch)).toEqual([3]);
  });

  it('demands a full copy for a backup outside it', () => {
    const some = window();
    for (const epoch of [1, 2, 3]) some.add({ epoch, bytes: 1 });
    some.ack(2);
    expect(some.resumeFrom(1)).toBeUndefined();
    expect(some.resumeFrom(4)).toBeUndefined();
  });

  it('never loses or repeats an epoch, whatever the order of sends and acks', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(5))), (steps) => {
        const some = window(8);
        const freed: number[] = [];
        for (const [send, back] of steps) {
          if (send && !some.full) some.add({ epoch: some.newest + 1, bytes: 1 });
          else freed.push(...some.ack(Math.max(0, some.newest - back)).map((item) => item.epoch));
        }
        expect(freed).toEqual(Array.from({ length: some.acked }, (_, i) => i + 1));
        expect(some.size).toBe(some.newest - some.acked);
      }),
    );
  });
});
