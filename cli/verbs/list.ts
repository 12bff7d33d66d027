/** `romulus list`: the VMs of this host in short, whatever state they are in. */

import type { Verb } from '../context.ts';
import { table } from '../output.ts';
import { stateColour } from '../status-text.ts';

export const list: Verb = (program, context) => {
  program
    .command('list')
    .description('list the VMs of this host')
    .action(async () => {
      const { out } = context();
      const { node, vms } = await context().client().status();
      const short = vms.map(({ vm, role, state, peer, hypervisor }) => ({
        vm,
        role,
        state,
        peer,
        hypervisor,
      }));
      out.result({ node, vms: short }, () =>
        short.length === 0
          ? `${node} has no VMs`
          : table(short.map((vm) => [vm.vm, vm.role, out.paint(stateColour(vm.state), vm.state), vm.peer])),
      );
    });
};
