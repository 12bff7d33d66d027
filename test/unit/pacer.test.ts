import { describe, expect, it } from 'vitest';
import { Pacer } from '../../primary/epoch/pacer.ts';

const fixed = (ms: number) => ({ minMs: ms, maxMs: ms, pauseShare: 0.1, windowEpochs: 8 });

describe('the pacer', () => {
  it('keeps to its grid when a checkpoint starts late', () => {
    const pacer = new Pacer(fixed(25), 0);
    expect(pacer.delayMs(0)).toBe(25);
    pacer.done(33, 3, 1);
    expect(pacer.delayMs(33)).toBe(17);
  });

  it('fires no burst after a long stall', () => {
    const pacer = new Pacer(fixed(25), 0);
    pacer.done(1000, 2, 1);
    expect(pacer.delayMs(1000)).toBe(25);
  });

  it('lets the guest run at least as long as it stood', () => {
    const pacer = new Pacer(fixed(10), 0);
    pacer.done(40, 30, 1);
    expect(pacer.delayMs(40)).toBe(30);
  });

  it('is due at once when the deadline has passed', () => {
    expect(new Pacer(fixed(25), 0).delayMs(60)).toBe(0);
  });

  it('asked for one length keeps it, whatever pauses and commits take', () => {
    const pacer = new Pacer(fixed(25), 0);
    for (let n = 1; n <= 50; n++) {
      pacer.committed(400);
      pacer.done(n * 25, 20, 4);
    }
    expect(pacer.intervalMs).toBe(25);
  });
});
