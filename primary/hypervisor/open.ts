/** Picks the Source for a guest's hypervisor. */

import { RomulusError } from '../../shared/errors.ts';
import type { VmSpec } from '../../shared/vm.ts';
import { QemuSource } from './qemu.ts';
import type { Source } from './source.ts';
import { XenSource } from './xen.ts';

export interface SourcePlace {
  /** Directory of the agent's run files; each guest gets its own folder, `runDir/NAME`. */
  runDir: string;
  /** The built library of native/preload. */
  preloadPath: string;
}

/** A Source not yet attached. HV_UNSUPPORTED for a hypervisor this build has no driver for. */
export async function openSource(spec: VmSpec, place: SourcePlace): Promise<Source> {
  switch (spec.hypervisor) {
    case 'qemu':
      return new QemuSource(spec, place);
    case 'xen':
      return new XenSource(spec);
    default:
      throw new RomulusError(
        'HV_UNSUPPORTED',
        `no driver for hypervisor ${JSON.stringify(spec.hypervisor)}`,
        {
          hint: 'set hypervisor: qemu or xen in the description of the guest',
        },
      );
  }
}
