/** `romulus failover`: lets the standby of this host go on; refused while the primary is seen alive. */

import { formatMs } from '../../shared/config.ts';
import { RomulusError } from '../../shared/errors.ts';
import type { Context, Verb } from '../context.ts';
import { showWholeHost } from '../whole-host-text.ts';

interface Options {
  host?: string;
  force?: boolean;
  fencedBy?: string;
  acceptDataLoss?: boolean;
}

export const failover: Verb = (program, context) => {
  program
    .command('failover')
    .description('let the standby on this host take over; exit 4 while the primary is seen alive')
    .argument('[vm]')
    .option('--host <name>', 'every VM of this host that is on standby here, instead of one')
    .option('--force', 'although the state of the primary is not known')
    .option('--fenced-by <who>', 'who or what made sure that the primary is dead; needed with --force')
    .option('--accept-data-loss', 'although the primary may have gone on alone since this copy was made')
    .action(async (vm: string | undefined, { host, ...options }: Options) => {
      if (host !== undefined) return failoverHost(context(), vm, host, options);
      if (vm === undefined) throw usage();
      if (options.force && !options.fencedBy?.trim()) {
        throw new RomulusError(
          'FENCE_UNPROVEN',
          '--force needs to know who made sure that the primary is dead',
          {
            hint: `romulus failover ${vm} --force --fenced-by "NAME, how"`,
          },
        );
      }
      const result = await context()
        .client()
        .failover({ vm, ...options });
      context().out.result(
        result,
        () =>
          `${vm} runs here from epoch ${result.epoch} on, term ${result.term}, ` +
          `${formatMs(result.decisionToRunningMs)} after ${formatMs(result.promiseWaitMs)} of waiting`,
      );
    });
};

async function failoverHost(
  context: Context,
  vm: string | undefined,
  node: string,
  { force, fencedBy, acceptDataLoss }: Options,
): Promise<void> {
  if (vm !== undefined) throw usage();
  if (force && !fencedBy?.trim()) {
    throw new RomulusError('FENCE_UNPROVEN', '--force needs to know who made sure that the host is dead', {
      hint: `romulus failover --host ${node} --force --fenced-by "NAME, how"`,
    });
  }
  const how = { ...(force && { fencedBy }), ...(acceptDataLoss && { acceptDataLoss }) };
  const asked = { kind: 'failoverHost' as const, node, ...how };
  await showWholeHost(context, await context.client().ask(asked), `runs here`);
}

function usage(): RomulusError {
  return new RomulusError('USAGE', 'failover needs either a VM or --host', {
    hint: 'romulus failover VM, or romulus failover --host NAME',
  });
}
