import { describe, expect, it } from 'vitest';
import { Pacer } from '../../primary/epoch/pacer.ts';

describe('the pacer', () => {
  it('keeps to its grid when a checkpoint starts late', () => {
    const pacer = new Pacer(25, 0);
    expect(pacer.delayMs(0)).toBe(25);
    pacer.done(33, 3);
    expect(pacer.delayMs(33)).toBe(17);
  });

  it('fires no burst after a long stall', () => {
    const pacer = new Pacer(25, 0);
    pacer.done(1000, 2);
    expect(pacer.delayMs(1000)).toBe(25);
  });

  it('lets the guest run at least as long as it stood', () => {
    const pacer = new Pacer(10, 0);
    pacer.done(40, 30);
    expect(pacer.delayMs(40)).toBe(30);
  });

  it('is due at once when the deadline has passed', () => {
    expect(new Pacer(25, 0).delayMs(60)).toBe(0);
  });
});
