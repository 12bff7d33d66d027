/** Faults under an observer, as often as asked: `npm run soak:history -- COUNT [SEED]`. Prints one JSON document; exit 1 on any failure. */

import { judgeHistory } from '../../cli/lab/history.ts';
import { Observer } from '../../cli/lab/observer.ts';
import { Segment } from '../../cli/lab/segment.ts';
import { random } from '../support/random.ts';
import { type Fault, faults, historyLab, strike } from './history.ts';

const count = Number(process.argv[2] ?? 10);
const seed = Number(process.argv[3] ?? Date.now() % 2 ** 31);
const next = random(seed);
const MIN_FAULT_MS = 1000;
const MAX_FAULT_MS = 10_000;

const done: Record<Fault, number> = {
  'power cut': 0,
  stop: 0,
  'stop and failover': 0,
  'link cut': 0,
  'link cut and failover': 0,
};
const failures: object[] = [];
let rounds = 0;
let answers = 0;
let stopped = false;
process.on('SIGTERM', () => {
  stopped = true; // the round under way is finished, and what was done is reported
});

const segment = Segment.create();
const lab = await historyLab(segment);
let observer: Observer | undefined;
try {
  await lab.start();
  await lab.protect();
  observer = new Observer(segment);
  let [from, to] = [lab.primary, lab.backup];
  while (rounds < count && !stopped) {
    const fault = faults[Math.floor(next() * faults.length)] as Fault;
    const forMs = MIN_FAULT_MS + next() * (MAX_FAULT_MS - MIN_FAULT_MS);
    const runs = await strike(fault, forMs, lab, from, to, observer);
    if (runs === to) [from, to] = [to, from];
    rounds += 1;
    done[fault] += 1;
    const wrong = judgeHistory(observer.sayings);
    if (wrong.length > 0)
      failures.push({ round: rounds, fault, forMs, wrong: wrong.slice(0, 10), of: wrong.length });
    answers = observer.sayings.length;
    process.stderr.write(`\r${rounds} faults, ${answers} answers, ${failures.length} failures   `);
    if (wrong.length > 0) break; // every later judgement would find the same again
  }
} catch (thrown) {
  failures.push({ what: 'the soak itself', error: String(thrown) });
} finally {
  await observer?.close();
  await lab.close({ keep: failures.length > 0 });
}
console.log(JSON.stringify({ seed, faults: done, answers, failures }));
process.exitCode = failures.length > 0 ? 1 : 0;
