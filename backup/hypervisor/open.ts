/** Picks the Target for a guest's hypervisor. */

import { RomulusError } from '../../shared/errors.ts';
import type { VmSpec } from '../../shared/vm.ts';
import { QemuTarget } from './qemu.ts';
import { ReplayTarget } from './replay.ts';
import type { Target } from './target.ts';
import { XenTarget } from './xen.ts';

/** A Target not yet prepared. HV_UNSUPPORTED for a hypervisor this build has no driver for. */
export async function openTarget(spec: VmSpec, options: { preloadPath: string }): Promise<Target> {
  switch (spec.hypervisor) {
    case 'qemu':
      return new QemuTarget(options);
    case 'xen':
      return new XenTarget(spec);
    case 'replay':
      return new ReplayTarget();
    default:
      throw new RomulusError(
        'HV_UNSUPPORTED',
        `no driver for hypervisor ${JSON.stringify(spec.hypervisor)}`,
        {
          hint: 'set hypervisor: qemu, xen or replay in the description of the guest',
        },
      );
  }
}
