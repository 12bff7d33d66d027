/** Runs in dom0: what the driver says of the guest "guest" and of one that is not PVH, and whether this host would take them. */

import { XenTarget } from '../../../backup/hypervisor/xen.ts';
import { XenSource } from '../../../primary/hypervisor/xen.ts';
import { asRomulusError } from '../../../shared/errors.ts';
import type { Geometry } from '../../../shared/vm.ts';

const [name = 'guest', other = 'other'] = process.argv.slice(2);
const said = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'taken',
    (thrown) => `${asRomulusError(thrown).code}: ${asRomulusError(thrown).message}`,
  );
const specOf = (vm: string) => ({ name: vm, hypervisor: 'xen' as const, memoryBytes: 0, cpus: 0 });

const source = new XenSource(specOf(name));
await source.attach();
const { geometry } = source;
await source.detach();

/** The same guest, had it been told of features that no processor has. */
function overdrawn(): Geometry {
  const leaves = Buffer.from(geometry.cpuPolicy?.leaves ?? '', 'base64');
  for (let at = 0; at < leaves.length; at += 24)
    if (leaves.readUInt32LE(at) === 7 && leaves.readUInt32LE(at + 4) === 0)
      leaves.writeUInt32LE(0xffffffff, at + 12);
  return {
    ...geometry,
    cpuPolicy: { leaves: leaves.toString('base64'), msrs: geometry.cpuPolicy?.msrs ?? '' },
  };
}

const backup = new XenTarget(specOf('elsewhere'));
console.log(
  JSON.stringify({
    sameHost: await said(backup.check(specOf('elsewhere'), geometry)),
    foreignCpu: await said(backup.check(specOf('elsewhere'), overdrawn())),
    notPvh: await said(new XenSource(specOf(other)).attach()),
  }),
);
