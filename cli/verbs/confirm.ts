/** `romulus confirm`: the operator says that this host owns a VM, after witness or backup can no longer tell. */

import type { Verb } from '../context.ts';

export const confirm: Verb = (program, context) => {
  program
    .command('confirm')
    .description(
      'this host owns the VM: the witness lost its memory, or the backup was not promoted; exit 4 if nothing asks for it',
    )
    .argument('<vm>')
    .action(async (vm: string) => {
      const client = context().client();
      const { term } = await client.vm(vm);
      const status = await client.confirm(vm, term);
      context().out.result(
        status,
        () => `${vm} is this host's, term ${status.term}; every older copy is void`,
      );
    });
};
