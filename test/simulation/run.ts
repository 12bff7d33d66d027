/** Runs many seeds, or replays one: node --import tsx test/simulation/run.ts --seeds 1000000 [--from N] | --seed N */

import { parseArgs } from 'node:util';
import { runSeed } from './run-seed.ts';

const { values } = parseArgs({
  options: {
    seeds: { type: 'string', default: '10000' },
    from: { type: 'string', default: '0' },
    seed: { type: 'string' },
  },
});

if (values.seed !== undefined) {
  const { log, violation } = runSeed(Number(values.seed), { logging: true });
  console.log(log.join('\n'));
  process.exitCode = violation === undefined ? 0 : 1;
} else {
  const from = Number(values.from);
  const count = Number(values.seeds);
  const totals = { seeds: 0, shown: 0, promotions: 0, unservable: 0, failed: 0 };
  const startedMs = performance.now();
  for (let seed = from; seed < from + count; seed += 1) {
    const result = runSeed(seed);
    totals.seeds += 1;
    totals.shown += result.shown;
    totals.promotions += result.promotions;
    if (!result.servable) totals.unservable += 1;
    if (result.violation === undefined) continue;
    totals.failed += 1;
    console.log(`seed ${seed}: ${result.violation}`);
    if (totals.failed >= 20) break;
  }
  console.log(JSON.stringify({ ...totals, wallMs: Math.round(performance.now() - startedMs) }));
  process.exitCode = totals.failed === 0 ? 0 : 1;
}
