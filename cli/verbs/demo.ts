/** `romulus demo`: a VM, two agents, a crash, a failover, the figures. */

import { Option } from 'commander';
import { epochArgument } from '../arguments.ts';
import type { Verb } from '../context.ts';

export const demo: Verb = (program, context) => {
  program
    .command('demo')
    .description('show a failover on this machine')
    .addOption(new Option('--guest <kind>', 'what runs').choices(['qemu', 'xen', 'replay']).default('qemu'))
    .option('--epoch <duration>', 'length of an epoch', epochArgument, 25)
    .option('--keep', 'leave the run folder behind')
    .action(async (options: { guest: 'qemu' | 'xen' | 'replay'; epoch: number; keep?: boolean }) => {
      const { runDemo } = await import('../demo.ts');
      const exitCode = await runDemo({
        guest: options.guest,
        epochMs: options.epoch,
        keep: options.keep === true,
        json: context().out.json,
      });
      context().exitWith(exitCode);
    });
};
