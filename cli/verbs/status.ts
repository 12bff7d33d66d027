/** `romulus status`: where each VM of this host stands; exit 3 unless all is well. */

import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { ExitCode } from '../../shared/errors.ts';
import { type AgentStatus, isSound, type VmStatus } from '../../shared/status.ts';
import type { AgentClient } from '../client.ts';
import type { Context, Verb } from '../context.ts';
import { certificateText, statusText } from '../status-text.ts';

const WATCH_MS = 1000;

export const status: Verb = (program, context) => {
  program
    .command('status')
    .description('show where VMs stand; exit 3 unless every one shown is PROTECTED, STANDBY or ACTIVE')
    .argument('[vm]')
    .option('--watch', 'show again each second until Ctrl-C; with --json one document a line')
    .action(async (vm: string | undefined, options: { watch?: boolean }) => {
      const client = context().client();
      if (options.watch) await watch(context(), client, vm);
      else show(context(), await fetchStatus(client, vm));
    });
};

type Shown = AgentStatus | VmStatus;

function fetchStatus(client: AgentClient, vm: string | undefined): Promise<Shown> {
  return vm === undefined ? client.status() : client.vm(vm);
}

function show(context: Context, shown: Shown, before = ''): void {
  const vms = 'vms' in shown ? shown.vms : [shown];
  const certificates =
    'vms' in shown ? certificateText(shown.certificates ?? [], shown.node, context.out) : '';
  context.out.result(shown, () => before + statusText(vms, context.out) + certificates);
  context.exitWith(vms.every(isSound) ? ExitCode.ok : ExitCode.degraded);
}

async function watch(context: Context, client: AgentClient, vm: string | undefined): Promise<void> {
  const stop = new AbortController();
  const interrupted = once(process, 'SIGINT').then(() => stop.abort());
  const clear = process.stdout.isTTY ? '\x1b[H\x1b[2J' : '';
  while (!stop.signal.aborted) {
    show(context, await fetchStatus(client, vm), clear);
    await Promise.race([
      delay(WATCH_MS, undefined, { signal: stop.signal }).catch(() => undefined),
      interrupted,
    ]);
  }
}
