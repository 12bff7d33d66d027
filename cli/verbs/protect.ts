/** `romulus protect`: starts replication of a VM to another host, and waits for PROTECTED when asked to. */

import { setTimeout as delay } from 'node:timers/promises';
import { RomulusError } from '../../shared/errors.ts';
import type { ProtectRequest, VmStatus } from '../../shared/status.ts';
import { epochArgument, windowArgument } from '../arguments.ts';
import type { Context, Verb } from '../context.ts';
import { progressLine, statusText } from '../status-text.ts';

const POLL_MS = 200;

interface Options {
  to: string;
  epoch?: number;
  epochMax?: number;
  window?: number;
  wait?: boolean;
}

export const protect: Verb = (program, context) => {
  program
    .command('protect')
    .description('start replication of a VM to another host')
    .argument('<vm>', 'VM of this host, as the config names it')
    .requiredOption('--to <host>', 'node that shall hold the standby')
    .option('--epoch <duration>', 'length of an epoch, like 25ms', epochArgument)
    .option('--epoch-max <duration>', 'longest epoch under back-pressure', epochArgument)
    .option('--window <epochs>', 'epochs sent and not yet acknowledged, at most', windowArgument)
    .option('--wait', 'return only when the VM is PROTECTED')
    .action(async (vm: string, options: Options) => {
      const request: ProtectRequest = {
        vm,
        to: options.to,
        ...(options.epoch !== undefined && { epochMs: options.epoch }),
        ...(options.epochMax !== undefined && { epochMaxMs: options.epochMax }),
        ...(options.window !== undefined && { window: options.window }),
      };
      const first = await context().client().protect(request);
      const status = options.wait ? await untilProtected(context(), first) : first;
      context().out.result(status, () => statusText([status], context().out));
    });
};

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
