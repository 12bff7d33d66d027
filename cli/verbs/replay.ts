/** `romulus replay`: a recorded trace through the whole pipeline, checked byte for byte. */

import { availableParallelism } from 'node:os';
import { formatBytes } from '../../shared/config.ts';
import { ExitCode } from '../../shared/errors.ts';
import { countArgument, linkArgument, shadowArgument } from '../arguments.ts';
import type { Verb } from '../context.ts';
import { type Output, table } from '../output.ts';
import type { ReplayResult } from '../replay.ts';

interface Options {
  epochs?: number;
  threads: number;
  link: number;
  shadow: number;
}

export const replay: Verb = (program, context) => {
  program
    .command('replay')
    .description('send a recorded trace through the whole pipeline and check the standby image byte for byte')
    .argument('<trace>', 'file that romulus record wrote')
    .option('--epochs <n>', 'only the first n epochs', countArgument)
    .option(
      '--threads <n>',
      'engine threads of each side',
      countArgument,
      Math.min(availableParallelism(), 8),
    )
    .option(
      '--link <bits>',
      'choose compression as for a link of this rate, like 1G or 10G',
      linkArgument,
      1e9,
    )
    .option('--shadow <share>', 'shadow copy of at most this share of the guest, like 25%', shadowArgument, 1)
    .action(async (tracePath: string, options: Options) => {
      const { replayTrace } = await import('../replay.ts');
      const { out } = context();
      const result = await replayTrace({
        tracePath,
        threads: options.threads,
        linkBitsPerS: options.link,
        shadowShare: options.shadow,
        ...(options.epochs !== undefined && { epochs: options.epochs }),
        onProgress: (epoch, epochs) => out.progress(`epoch ${epoch} of ${epochs}`),
      }).finally(() => out.endProgress());
      out.result(result, () => replayText(result, out));
      context().exitWith(result.verified ? ExitCode.ok : ExitCode.failed);
    });
};

function replayText(result: ReplayResult, out: Output): string {
  const perEpochMs = (ns: number) => `${(ns / 1e6 / Math.max(1, result.epochs)).toFixed(3)} ms`;
  const percent = ((100 * result.wireBytes) / Math.max(1, result.rawBytes)).toFixed(2);
  const difference = result.difference;
  const verdict =
    difference === undefined
      ? out.paint('green', `verified: the image was the guest's memory after each of ${result.epochs} epochs`)
      : out.paint('red', `NOT VERIFIED: page ${difference.page} differs after epoch ${difference.epoch}`);
  return [
    `${result.trace}: ${formatBytes(result.guestBytes)} guest, ${result.epochs} epochs of ${result.epochMs} ms, ${result.threads} threads`,
    table([
      ['dirty pages', String(result.dirtyPages), `${result.changedPages} changed`],
      ['raw', formatBytes(result.rawBytes)],
      [
        'sent',
        formatBytes(result.wireBytes),
        `${percent} % of raw, ${result.compression} as for ${result.linkBitsPerS / 1e9} Gb/s`,
      ],
      ['scan', perEpochMs(result.scanNs), 'per epoch'],
      ['encode', perEpochMs(result.encodeNs), 'per epoch'],
      ['apply', perEpochMs(result.applyNs), 'per epoch'],
      [
        'pause to applied',
        perEpochMs(result.wallNs),
        `per epoch, ${result.gbPerS} GB/s of dirty pages; median ${result.stepsMs.applied.p50} ms, ${result.gbPerSP50} GB/s`,
      ],
      [
        'initial copy',
        formatBytes(result.initial.wireBytes),
        `${(result.initial.wallNs / 1e6).toFixed(0)} ms`,
      ],
    ]),
    verdict,
  ].join('\n');
}
