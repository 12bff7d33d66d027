/** Every scenario of the failure list that one machine can stage, with real agents, guests, networks and witness. */

import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { scenarios } from './scenarios.ts';
import { Stage } from './stage.ts';

let stage: Stage;
const rows: string[] = [];

beforeAll(async () => {
  stage = await Stage.open();
}, 240_000);

afterAll(async () => {
  await stage?.close();
  // `npm run docs:failures` asks for it: the table of docs/failures.md is what this run saw.
  const path = process.env.ROMULUS_FAILURES_TO;
  if (path === undefined) return;
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, `${rows.join('\n')}\n`);
}, 60_000);

describe('a failure', { timeout: 300_000 }, () => {
  it.each(scenarios)('$name: the guest $expected, and is protected again by itself', async (scenario) => {
    const { twoActive, samples } = stage;
    const outcome = await scenario.play(stage);
    const beganMs = performance.now();
    await stage.recovered();
    const seconds = ((performance.now() - beganMs) / 1000).toFixed(1);
    const both = stage.twoActive - twoActive;
    rows.push(
      `| ${scenario.name} | ${scenario.how} | ${scenario.expected} | ${outcome} | ${both} of ${stage.samples - samples} | ${seconds} s |`,
    );
    expect(outcome).toBe(scenario.expected);
    expect(both).toBe(0);
    expect(stage.faults()).toEqual([]);
  });
});
