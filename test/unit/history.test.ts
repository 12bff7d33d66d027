/** The judge of histories: what one guest may have said, and what only two, or one that went back, could have. */

import { describe, expect, it } from 'vitest';
import { judgeHistory, type Saying } from '../../cli/lab/history.ts';

const said = (request: number, sentMs: number, atMs: number, count: number): Saying => ({
  request,
  sentMs,
  atMs,
  count,
});

describe('a history of a counter', () => {
  it('of a guest that answers in order is sound', () => {
    expect(judgeHistory([said(1, 0, 5, 1), said(2, 10, 15, 2), said(3, 20, 25, 3)])).toEqual([]);
  });

  it('may leave out what was never heard, and answer requests under way in any order', () => {
    expect(judgeHistory([said(1, 0, 30, 7), said(2, 1, 20, 3), said(9, 50, 60, 40)])).toEqual([]);
  });

  it('is not one guest when a request is answered twice', () => {
    expect(judgeHistory([said(1, 0, 5, 1), said(1, 0, 6, 2)])).toHaveLength(1);
  });

  it('is not one guest when a number is told for two requests', () => {
    expect(judgeHistory([said(1, 0, 30, 5), said(2, 1, 31, 5)])).toHaveLength(1);
  });

  it('has lost something when a later request is told less than was heard before it was sent', () => {
    const wrong = judgeHistory([said(1, 0, 5, 10), said(2, 6, 9, 8)]);
    expect(wrong).toEqual(['10 had been heard when request 2 was sent, which was told 8']);
  });

  it('has not when that request was sent before the higher number was heard', () => {
    expect(judgeHistory([said(1, 0, 5, 10), said(2, 4, 9, 8)])).toEqual([]);
  });
});
