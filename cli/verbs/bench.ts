/** `romulus bench`: this machine's figures beside the peers' and its own limits, measured in the same run. */

import { Argument } from 'commander';
import { countArgument } from '../arguments.ts';
import type { Verb } from '../context.ts';

const parts = ['scan', 'delta', 'apply', 'wire', 'epoch'] as const;
type Part = (typeof parts)[number];

interface Options {
  trace: string[];
  guestGib: number[];
  rounds: number;
  threads: number;
}

export const bench: Verb = (program, context) => {
  program
    .command('bench')
    .description("this machine's figures, each beside its baseline measured in the same run")
    .addArgument(new Argument('<what>', 'which part').choices([...parts, 'all']))
    .option('--trace <file...>', 'traces to measure on (default: a short one that comes with the source)', [])
    .option(
      '--guest-gib <n>',
      'size of the guest whose bitmap is scanned; may be given several times',
      (text: string, before: number[]) => [...before, countArgument(text)],
      [],
    )
    .option('--rounds <n>', 'repetitions, of which the median counts', countArgument, 3)
    .option('--threads <n>', 'doubling from one up to this', countArgument, 2)
    .action(async (what: Part | 'all', options: Options) => {
      const { runBench } = await import('../../bench/run.ts');
      const { benchText } = await import('../bench-text.ts');
      const { out } = context();
      const request = {
        traces: options.trace,
        guestGiB: options.guestGib.length > 0 ? options.guestGib : [1, 4],
        rounds: options.rounds,
        threads: options.threads,
        onProgress: (line: string) => out.progress(line),
      };
      const all: Record<string, unknown> = {};
      for (const part of what === 'all' ? parts : [what]) {
        const rows = await runBench(part, request).finally(() => out.endProgress());
        all[part] = rows;
        if (!out.json) out.result(rows, () => `${part}\n${benchText(part, rows)}\n`);
      }
      if (out.json) out.result(what === 'all' ? all : all[what], () => '');
    });
};
