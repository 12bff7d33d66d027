/** `romulus switchover`: hands a protected VM to its backup in good order, while both hosts are well. */

import { setTimeout as delay } from 'node:timers/promises';
import { RomulusError } from '../../shared/errors.ts';
import type { VmStatus } from '../../shared/status.ts';
import type { AgentClient } from '../client.ts';
import type { Verb } from '../context.ts';

const POLL_MS = 50;
const TIMEOUT_MS = 60_000;

export const switchover: Verb = (program, context) => {
  program
    .command('switchover')
    .description('hand the VM of this host to its backup, without losing a packet; exit 1 if it stayed')
    .argument('<vm>')
    .action(async (vm: string) => {
      const client = context().client();
      const { term, peer } = await client.vm(vm);
      await client.switchover(vm, term);
      const status = await untilGone(client, vm, term);
      context().out.result({ ...status, vm, from: term, to: peer }, () => `${vm} runs on ${peer} now`);
    });
};

/** Resolves when this host no longer runs the VM; throws VM_BUSY when it took it back. */
async function untilGone(client: AgentClient, vm: string, term: number): Promise<VmStatus> {
  const deadline = performance.now() + TIMEOUT_MS;
  for (;;) {
    const status = await client.vm(vm);
    const over = status.role === 'backup' || status.state === 'FENCED';
    if (over && status.term > term) return status;
    const returned = status.role === 'primary' && status.state !== 'SWITCHING' && status.term > term;
    if (returned || performance.now() > deadline) {
      throw new RomulusError('VM_BUSY', `${vm} was not taken over by ${status.peer}; it goes on here`, {
        hint: `romulus status ${vm}`,
      });
    }
    await delay(POLL_MS);
  }
}
