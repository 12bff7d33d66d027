/** An outside observer: asks whoever answers as the guest for its counter, all the time, and keeps what was said and when. */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { Saying } from './history.ts';
import type { Segment } from './segment.ts';

export class Observer {
  readonly sayings: Saying[] = [];
  readonly #child: ChildProcessByStdio<null, Readable, null>;
  #onSaying: () => void = () => {};

  /** Begins to ask; nobody need answer yet. */
  constructor(segment: Segment) {
    const program = fileURLToPath(new URL('observer-process.ts', import.meta.url)).replace(
      /\/dist\/cli\/lab\/observer-process\.ts$/,
      '/dist/cli/lab/observer-process.js',
    );
    const hook = import.meta.url.endsWith('.ts') ? ['--import', 'tsx'] : [];
    const [file = '', ...args] = [...segment.launcher, process.execPath, ...hook, program];
    this.#child = spawn(file, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.sayings.push(JSON.parse(line) as Saying);
      this.#onSaying();
    });
  }

  /** Resolves once so many more answers have come. */
  async hears(more: number): Promise<void> {
    const wanted = this.sayings.length + more;
    while (this.sayings.length < wanted) {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null)
        throw new Error('the observer has ended');
      await new Promise<void>((resolve) => {
        this.#onSaying = resolve;
      });
    }
  }

  async close(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}
