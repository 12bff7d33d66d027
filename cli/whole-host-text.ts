/** An order about a whole host, as people and scripts see it: progress, then what became of each VM. */

import { setTimeout as delay } from 'node:timers/promises';
import type { JobView } from '../shared/control/queue.ts';
import { ExitCode, RomulusError } from '../shared/errors.ts';
import type { Context } from './context.ts';

const POLL_MS = 250;

/** Waits until the job is through. Ctrl-C leaves it running; the same command again finds it. Exit 1 when a VM stayed. */
export async function showWholeHost(context: Context, asked: JobView, done: string): Promise<void> {
  const view = await untilThrough(context, asked);
  if (view.error !== undefined) throw RomulusError.fromJSON(view.error);
  const { vms = [] } = view;
  context.out.result(view, () =>
    vms.length === 0 ? 'there is no VM it concerns' : vms.map((vm) => line(context, vm, done)).join('\n'),
  );
  context.exitWith(vms.every(({ ok }) => ok) ? ExitCode.ok : ExitCode.failed);
}

async function untilThrough(context: Context, asked: JobView): Promise<JobView> {
  let view = asked;
  try {
    while (view.state !== 'completed' && view.state !== 'failed') {
      context.out.progress(
        `job ${view.id} on ${view.node}: ${view.vms?.length ?? 0} of ${view.vmCount ?? 0} VMs`,
      );
      await delay(POLL_MS);
      view = await context.client().job(view);
    }
  } finally {
    context.out.endProgress();
  }
  return view;
}

function line({ out }: Context, outcome: NonNullable<JobView['vms']>[number], done: string): string {
  if (outcome.ok) return `${outcome.vm} ${out.paint('green', done)}`;
  const { message, hint } = outcome.error;
  return `${outcome.vm}: ${out.paint('red', message)}${hint === undefined ? '' : `\ntry: ${hint}`}`;
}
