/** `romulus bench`: this machine's figures beside the peers' and its own limits, measured in the same run. */

import { Argument } from 'commander';
import { countArgument } from '../arguments.ts';
import type { Verb } from '../context.ts';

const parts = ['scan', 'delta', 'apply', 'wire', 'epoch', 'disk', 'failover'] as const;
/** Xen's hosts are emulated, which takes minutes and an idle core. */
const apart = ['xen'] as const;
type Part = (typeof parts | typeof apart)[number];

interface Options {
  trace: string[];
  guestGib: number[];
  rounds: number;
  threads: number;
  epoch: number[];
  epochs: number;
  memoryMib: number[];
  failovers: number;
  requests: number;
  kills: number;
  silence: number;
  vms: number;
}

/** Collects an option given several times. */
const more = (text: string, before: number[]) => [...before, countArgument(text)];

/** For counts of which none at all may be wanted. */
const countOrNone = (text: string) => (text === '0' ? 0 : countArgument(text));

/** What was given, or else the default: commander would append to it. */
const or = (given: number[], otherwise: number[]) => (given.length > 0 ? given : otherwise);

export const bench: Verb = (program, context) => {
  program
    .command('bench')
    .description("this machine's figures, each beside its baseline measured in the same run")
    .addArgument(new Argument('<what>', 'which part').choices([...parts, ...apart, 'all']))
    .option('--trace <file...>', 'traces to measure on (default: a short one that comes with the source)', [])
    .option(
      '--guest-gib <n>',
      'scan: size of the guest whose bitmap is scanned; may be given several times',
      more,
      [],
    )
    .option('--rounds <n>', 'repetitions, of which the median counts', countArgument, 3)
    .option('--threads <n>', 'doubling from one up to this', countArgument, 2)
    .option('--epoch <ms>', 'epoch: length to ask for; may be given several times', more, [])
    .option(
      '--epochs <n>',
      'epoch: epochs of each length; xen: of each method in each round',
      countArgument,
      200,
    )
    .option(
      '--memory-mib <n>',
      'epoch: guest whose failovers are timed; may be given several times',
      more,
      [],
    )
    .option('--failovers <n>', 'epoch: power cuts of each guest', countOrNone, 3)
    .option('--requests <n>', 'epoch: requests of a client at each length (takes root)', countOrNone, 100)
    .option('--kills <n>', 'failover: power cuts', countArgument, 3)
    .option('--silence <ms>', 'failover: silence that counts as loss', countArgument, 300)
    .option('--vms <n>', 'failover: one power cut under so many recorded VMs', countArgument, 1)
    .action(async (what: Part | 'all', options: Options) => {
      const { runBench } = await import('../../bench/run.ts');
      const { benchText } = await import('../bench-text.ts');
      const { out } = context();
      const request = {
        traces: options.trace,
        guestGiB: or(options.guestGib, [1, 4]),
        rounds: options.rounds,
        threads: options.threads,
        epoch: {
          epochMs: or(options.epoch, [10, 25, 100]),
          epochs: options.epochs,
          memoryMiB: or(options.memoryMib, [256]),
          failovers: options.failovers,
          requests: options.requests,
        },
        failover: { kills: options.kills, silenceMs: options.silence, vms: options.vms },
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
