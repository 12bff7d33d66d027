/** `romulus unprotect`: ends replication of a VM; the guest runs on. */

import type { Verb } from '../context.ts';

export const unprotect: Verb = (program, context) => {
  program
    .command('unprotect')
    .description('end replication of a VM; the guest runs on')
    .argument('<vm>')
    .action(async (vm: string) => {
      const status = await context().client().unprotect(vm);
      context().out.result(status, () => `${vm} is no longer protected; the guest runs on`);
    });
};
