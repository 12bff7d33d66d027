/** What every soak has: a count and a seed from the command line, an end at SIGTERM, one JSON document, exit 1 on any failure. */

import type { Lab } from '../../cli/lab/lab.ts';
import { random } from '../support/random.ts';

export class Soak {
  readonly count: number;
  readonly seed: number;
  /** Numbers from 0 to 1 that follow from the seed. */
  readonly next: () => number;
  readonly failures: object[] = [];
  /** The round under way is finished, and what was done is reported. */
  stopped = false;

  constructor(defaultCount: number) {
    this.count = Number(process.argv[2] ?? defaultCount);
    this.seed = Number(process.argv[3] ?? Date.now() % 2 ** 31);
    this.next = random(this.seed);
    process.on('SIGTERM', () => {
      this.stopped = true;
    });
  }

  /** Protects the lab's guest, plays, and ends it all; the lab's folders stay when anything failed. */
  async run(
    lab: Lab,
    play: () => Promise<void>,
    end: () => Promise<unknown> = async () => {},
  ): Promise<void> {
    try {
      await lab.start();
      await lab.protect();
      await play();
    } catch (thrown) {
      this.failures.push({ what: 'the soak itself', error: String(thrown) });
    } finally {
      await end();
      await lab.close({ keep: this.failures.length > 0 });
    }
  }

  report(done: object): void {
    console.log(JSON.stringify({ seed: this.seed, ...done, failures: this.failures }));
    process.exitCode = this.failures.length > 0 ? 1 : 0;
  }
}
