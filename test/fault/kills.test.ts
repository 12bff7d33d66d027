/** kill -9 of real agents and a real guest, at every step of the protocol; `npm run soak:kills` does the same for longer. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Lab } from '../../cli/lab/lab.ts';
import {
  backupCrashPoints,
  killBackup,
  killPrimaryAgent,
  primaryCrashPoints,
  pullPlugAndSwap,
} from './kills.ts';

let lab: Lab;

beforeAll(async () => {
  lab = await Lab.create({ memoryMiB: 128, epochMs: 25, workload: { structureMiB: 16 } });
  await lab.start();
  await lab.protect();
}, 180_000);

afterAll(() => lab?.close());

describe('kill -9 of the backup agent', () => {
  it.each(backupCrashPoints)(
    'at %s leaves exactly a committed epoch, and needs no full copy',
    async (point) => {
      expect(await killBackup(lab, lab.primary, lab.backup, point, 20)).toEqual({
        imageWhole: true,
        resumed: true,
        faults: [],
      });
    },
  );
});

describe('kill -9 of the primary agent', () => {
  it.each(primaryCrashPoints)('at %s lets its guest go on', async (point) => {
    expect(await killPrimaryAgent(lab, lab.primary, point, 5)).toEqual({ ticked: true, faults: [] });
  });
});

describe('kill -9 of agent and guest together', () => {
  it('loses nothing the guest can notice, and roles swap, three times over', async () => {
    let [from, to] = [lab.primary, lab.backup];
    for (let round = 0; round < 3; round++) {
      expect(await pullPlugAndSwap(lab, from, to)).toMatchObject({
        imageWhole: true,
        ticked: true,
        faults: [],
      });
      [from, to] = [to, from];
    }
  });
});
