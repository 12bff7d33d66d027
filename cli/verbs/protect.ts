/** `romulus protect`: starts replication of a VM to another host, and waits for PROTECTED when asked to. */

import { setTimeout as delay } from 'node:timers/promises';
import { Option } from 'commander';
import { RomulusError } from '../../shared/errors.ts';
import type { ProtectRequest, VmStatus } from '../../shared/status.ts';
import { epochArgument, linkArgument, windowArgument } from '../arguments.ts';
import type { Context, Verb } from '../context.ts';
import { progressLine, statusText } from '../status-text.ts';

const POLL_MS = 200;

interface Options {
  to?: string;
  epoch?: number;
  epochMax?: number;
  window?: number;
  failover?: 'auto' | 'manual';
  onBackupLoss?: 'solo' | 'freeze' | 'hold';
  wait?: boolean;
  dryRun?: boolean;
  link: number;
  start?: boolean;
}

export const protect: Verb = (program, context) => {
  program
    .command('protect')
    .description('start replication of a VM to another host')
    .argument('<vm>', 'VM of this host, as the config names it')
    .option('--to <host>', 'node that shall hold the standby')
    .option('--epoch <duration>', 'length of an epoch, like 25ms', epochArgument)
    .option('--epoch-max <duration>', 'longest epoch under back-pressure', epochArgument)
    .option('--window <epochs>', 'epochs sent and not yet acknowledged, at most', windowArgument)
    .addOption(new Option('--failover <how>', 'who decides when this host dies').choices(['auto', 'manual']))
    .addOption(
      new Option('--on-backup-loss <what>', 'what the guest does without its backup').choices([
        'solo',
        'freeze',
        'hold',
      ]),
    )
    .option('--wait', 'return only when the VM is PROTECTED')
    .option('--dry-run', 'send nothing: measure dirty rate and pauses, predict wire rate and output delay')
    .option('--link <bits>', 'link that --dry-run predicts for, like 1G or 100M', linkArgument, 1e9)
    .option('--start', 'with --dry-run: start the guest if it does not run')
    .action(async (vm: string, options: Options) => {
      if (options.dryRun) return predict(context(), vm, options);
      if (options.to === undefined) {
        throw new RomulusError('USAGE', 'protect needs the node that shall hold the standby', {
          hint: `romulus protect ${vm} --to HOST`,
        });
      }
      const request: ProtectRequest = {
        vm,
        to: options.to,
        ...(options.epoch !== undefined && { epochMs: options.epoch }),
        ...(options.epochMax !== undefined && { epochMaxMs: options.epochMax }),
        ...(options.window !== undefined && { window: options.window }),
        ...(options.failover !== undefined && { failover: options.failover }),
        ...(options.onBackupLoss !== undefined && { onBackupLoss: options.onBackupLoss }),
      };
      const first = await context().client().protect(request);
      const status = options.wait ? await untilProtected(context(), first) : first;
      context().out.result(status, () => statusText([status], context().out));
    });
};

/** Measures on the guest itself, so no agent may protect it meanwhile. */
async function predict(context: Context, vm: string, options: Options): Promise<void> {
  const { attachStandalone } = await import('../standalone.ts');
  const { dryRun } = await import('../dry-run.ts');
  const { dryRunText } = await import('../dry-run-text.ts');
  const config = context.config();
  const source = await attachStandalone(config, vm, options.start === true);
  try {
    const rows = await dryRun({
      source,
      threads: config.threads,
      linkBitsPerS: options.link,
      onProgress: (epochMs) => context.out.progress(`measuring epochs of ${epochMs} ms`),
    });
    context.out.endProgress();
    context.out.result({ vm, linkBitsPerS: options.link, rows }, () => dryRunText(vm, options.link, rows));
  } finally {
    context.out.endProgress();
    await source.detach();
  }
}

async function untilProtected(context: Context, first: VmStatus): Promise<VmStatus> {
  const client = context.client();
  let status = first;
  try {
    while (status.state === 'STARTING' || status.state === 'SYNCING') {
      context.out.progress(progressLine(status));
      await delay(POLL_MS);
      status = await client.vm(first.vm);
    }
  } finally {
    context.out.endProgress();
  }
  if (status.state === 'PROTECTED') return status;
  throw new RomulusError(
    'DEGRADED',
    `${status.vm} is ${status.state}, not PROTECTED${status.reason === undefined ? '' : `: ${status.reason}`}`,
    { hint: status.hint ?? `romulus status ${status.vm}` },
  );
}
