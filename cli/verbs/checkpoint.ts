/** `romulus checkpoint export`: the newest epoch of a standby as a file that the hypervisor's own tools take. */

import { resolve } from 'node:path';
import { Option } from 'commander';
import { formatBytes } from '../../shared/config.ts';
import type { Verb } from '../context.ts';

export const checkpoint: Verb = (program, context) => {
  program
    .command('checkpoint')
    .description('checkpoints as files')
    .command('export')
    .description('write the newest epoch of a standby of this host; epochs go on being applied')
    .argument('<vm>')
    .requiredOption('-o, --output <file>', 'file to write, which must not exist; guest memory is in it')
    .addOption(new Option('--format <kind>', 'xen: what `xl restore` takes').choices(['xen']).default('xen'))
    .action(async (vm: string, options: { output: string; format: 'xen' }) => {
      const body = { vm, format: options.format, path: resolve(options.output) };
      const result = await context().client().exportCheckpoint(body);
      context().out.result(
        result,
        () =>
          `${result.path}: ${vm} at epoch ${result.epoch}, ${formatBytes(result.sizeBytes)}; xl restore takes it`,
      );
    });
};
