/** PostgreSQL on the replicated disk: nothing a client was told of is lost with its host, and the disk alone brings it back sound. */

import { afterEach, describe, expect, it } from 'vitest';
import type { Lab } from '../../cli/lab/lab.ts';
import { Segment } from '../../cli/lab/segment.ts';
import { cutUnderDatabase, databaseLab } from './disk.ts';

/** A database boots, is copied, fails over and is checked twice, emulated, on two loaded cores. */
const TIMEOUT_MS = 600_000;

describe('a database whose host dies', { timeout: TIMEOUT_MS }, () => {
  let lab: Lab | undefined;
  afterEach(() => lab?.close());

  it('keeps every acknowledged commit, in memory and on disk, and its clients their connections', async () => {
    lab = await databaseLab(Segment.create());
    await lab.start();
    await lab.protect();
    const outcome = await cutUnderDatabase(lab, lab.primary, lab.backup, 500);
    expect(outcome.wrong).toEqual([]);
    expect(outcome.connectionsSurvived).toBe(true);
    expect(outcome.acknowledged).toBeGreaterThan(0);
  });
});
