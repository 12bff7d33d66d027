/** What an outside observer hears of a guest while its host is cut off, stopped or killed: one guest, and nothing taken back. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { judgeHistory } from '../../cli/lab/history.ts';
import type { Lab } from '../../cli/lab/lab.ts';
import { Observer } from '../../cli/lab/observer.ts';
import { Segment } from '../../cli/lab/segment.ts';
import { faults, historyLab, strike } from './history.ts';

/** Five faults on an emulated guest, each with a new copy of it, on two loaded cores. */
const TIMEOUT_MS = 600_000;
const FAULT_MS = 2000;

describe('an outside observer', { timeout: TIMEOUT_MS }, () => {
  let lab: Lab;
  let observer: Observer | undefined;

  beforeEach(async () => {
    const segment = Segment.create();
    lab = await historyLab(segment);
    await lab.start();
    await lab.protect();
  });
  afterEach(async () => {
    await observer?.close();
    await lab.close();
  });

  it('hears one guest, whose time only goes on, through power cuts, stops and link cuts', async () => {
    observer = new Observer(lab.segment as Segment);
    let [from, to] = [lab.primary, lab.backup];
    for (const fault of faults) {
      const runs = await strike(fault, FAULT_MS, lab, from, to, observer);
      if (runs === to) [from, to] = [to, from];
      expect(judgeHistory(observer.sayings), fault).toEqual([]);
    }
  });
});
