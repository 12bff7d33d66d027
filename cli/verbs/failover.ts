/** `romulus failover`: lets the standby of this host go on; refused while the primary is seen alive. */

import { formatMs } from '../../shared/config.ts';
import { RomulusError } from '../../shared/errors.ts';
import type { Verb } from '../context.ts';

export const failover: Verb = (program, context) => {
  program
    .command('failover')
    .description('let the standby on this host take over; exit 4 while the primary is seen alive')
    .argument('<vm>')
    .option('--force', 'although the state of the primary is not known')
    .option('--fenced-by <who>', 'who or what made sure that the primary is dead; needed with --force')
    .action(async (vm: string, options: { force?: boolean; fencedBy?: string }) => {
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
          `${formatMs(result.decisionToRunningMs)} after the decision`,
      );
    });
};
