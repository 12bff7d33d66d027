/** Decoders of frames, journal and compressed chunks under damage: `npm run fuzz:decoders -- SECONDS [SEED]`, so long for each; exit 1 on any failure. */

import { random } from '../support/random.ts';
import { type Target, targets } from './targets.ts';

const seconds = Number(process.argv[2] ?? 60);
const seed = Number(process.argv[3] ?? Date.now() % 2 ** 31);

async function fuzz(name: string, target: Target): Promise<boolean> {
  const until = performance.now() + seconds * 1000;
  let runs = 0;
  let accepted = 0;
  while (performance.now() < until) {
    const own = seed + runs;
    try {
      if (await target(random(own))) accepted += 1;
    } catch (thrown) {
      console.log(JSON.stringify({ target: name, seed: own, failure: String((thrown as Error).stack) }));
      return false;
    }
    runs += 1;
  }
  console.log(JSON.stringify({ target: name, seed, runs, accepted, refused: runs - accepted }));
  return true;
}

for (const [name, target] of Object.entries(targets)) {
  if (!(await fuzz(name, target))) process.exitCode = 1;
}
