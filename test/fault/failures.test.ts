/** The scenarios of the failure list that one machine can stage, with real agents, guests, networks and witness. */

import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type FailureRow, failuresText } from './failures-text.ts';
import { scenarios } from './scenarios.ts';
import { SILENCE_MS, Stage } from './stage.ts';

/** Where the table of docs/failures.md goes, for which all of them are played; the suite plays some. */
const tablePath = process.env.ROMULUS_FAILURES_TO;
const played = scenarios.filter(({ brief }) => brief === true || tablePath !== undefined);

let stage: Stage;
const rows: FailureRow[] = [];

beforeAll(async () => {
  stage = await Stage.open();
}, 240_000);

afterAll(async () => {
  await stage?.close();
  if (tablePath !== undefined) writeFileSync(tablePath, failuresText(rows, SILENCE_MS));
}, 60_000);

describe('a failure', { timeout: 300_000 }, () => {
  it.each(played)('$name: the guest $expected, and is protected again by itself', async (scenario) => {
    const { twoActive, samples } = stage;
    let beganMs = 0;
    // Mended whatever came of it, so that one failure is not followed by all others.
    const outcome = await scenario.play(stage).finally(async () => {
      beganMs = performance.now();
      await stage.recovered();
    });
    const recoveredS = (performance.now() - beganMs) / 1000;
    const both = stage.twoActive - twoActive;
    const { name, how, expected } = scenario;
    const counts = { twoActive: both, samples: stage.samples - samples };
    rows.push({ name, how, expected, observed: outcome, ...counts, recoveredS });
    if (scenario.race) expect(['stays', 'moves']).toContain(outcome);
    else expect(outcome).toBe(expected);
    expect(both).toBe(0);
    expect(stage.faults()).toEqual([]);
  });
});
