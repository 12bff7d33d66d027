/** Faults under an observer, as often as asked: `npm run soak:history -- COUNT [SEED]`. Prints one JSON document; exit 1 on any failure. */

import { judgeHistory } from '../../cli/lab/history.ts';
import { Observer } from '../../cli/lab/observer.ts';
import { Segment } from '../../cli/lab/segment.ts';
import { type Fault, faults, historyLab, strike } from './history.ts';
import { Soak } from './soak-frame.ts';

const MIN_FAULT_MS = 1000;
const MAX_FAULT_MS = 10_000;

const soak = new Soak(10);
const { count, failures, next } = soak;
const done: Record<Fault, number> = {
  'power cut': 0,
  stop: 0,
  'stop and failover': 0,
  'link cut': 0,
  'link cut and failover': 0,
};
let answers = 0;

const segment = Segment.create();
const lab = await historyLab(segment);
let observer: Observer | undefined;

async function play(): Promise<void> {
  observer = new Observer(segment);
  let [from, to] = [lab.primary, lab.backup];
  for (let round = 1; round <= count && !soak.stopped; round++) {
    const fault = faults[Math.floor(next() * faults.length)] as Fault;
    const forMs = MIN_FAULT_MS + next() * (MAX_FAULT_MS - MIN_FAULT_MS);
    const runs = await strike(fault, forMs, lab, from, to, observer);
    if (runs === to) [from, to] = [to, from];
    done[fault] += 1;
    const wrong = judgeHistory(observer.sayings);
    if (wrong.length > 0) failures.push({ round, fault, forMs, wrong: wrong.slice(0, 10), of: wrong.length });
    answers = observer.sayings.length;
    process.stderr.write(`\r${round} faults, ${answers} answers, ${failures.length} failures   `);
    if (wrong.length > 0) return; // every later judgement would find the same again
  }
}

await soak.run(lab, play, async () => observer?.close());
soak.report({ faults: done, answers });
