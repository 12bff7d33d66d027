/** `romulus record`: records a trace from a guest of this host that no agent protects. */

import { formatBytes, formatMs } from '../../shared/config.ts';
import { countArgument, epochArgument } from '../arguments.ts';
import type { Verb } from '../context.ts';

interface Options {
  epochs: number;
  epoch: number;
  output: string;
  start?: boolean;
}

export const record: Verb = (program, context) => {
  program
    .command('record')
    .description('record what a guest dirties, epoch by epoch, as a trace for replay and bench')
    .argument('<vm>', 'VM of this host, as the config names it; not protected at the moment')
    .requiredOption('-o, --output <file>', 'trace to write; page contents of the guest are in it')
    .option('--epochs <n>', 'how many', countArgument, 100)
    .option('--epoch <duration>', 'length of an epoch', epochArgument, 100)
    .option('--start', 'start the guest if it does not run')
    .action(async (vm: string, options: Options) => {
      const { attachStandalone } = await import('../standalone.ts');
      const { recordTrace } = await import('../record.ts');
      const { out } = context();
      const source = await attachStandalone(context().config(), vm, options.start === true);
      const stop = new AbortController();
      const interrupted = () => stop.abort();
      process.once('SIGINT', interrupted);
      try {
        const result = await recordTrace({
          source,
          name: vm,
          epochs: options.epochs,
          epochMs: options.epoch,
          path: options.output,
          signal: stop.signal,
          onProgress: (epoch, dirtyPages) =>
            out.progress(
              `epoch ${epoch} of ${options.epochs}, ${dirtyPages} dirty pages (Ctrl-C ends early)`,
            ),
        });
        out.endProgress();
        const { epochs, guestBytes, dirtyPages, pauseMs } = result;
        out.result(result, () =>
          [
            `${options.output}: ${epochs} epochs of ${formatMs(options.epoch)}, ${formatBytes(guestBytes)} guest, ${dirtyPages} dirty pages`,
            `the guest stood still for ${formatMs(pauseMs.mean)} an epoch, ${formatMs(pauseMs.max)} at most`,
            `now: romulus replay ${options.output}`,
          ].join('\n'),
        );
      } finally {
        process.off('SIGINT', interrupted);
        out.endProgress();
        await source.detach();
      }
    });
};
