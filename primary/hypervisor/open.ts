/** Picks the Source for a guest's hypervisor. */

import { join } from 'node:path';
import { RomulusError } from '../../shared/errors.ts';
import type { VmSpec } from '../../shared/vm.ts';
import { QemuSource } from './qemu.ts';
import { ReplaySource } from './replay.ts';
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
    case 'replay':
      return new ReplaySource({ tracePath: traceOf(spec), runDir: join(place.runDir, spec.name) });
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

/** All a recorded guest is made of lies in its trace, and `disk` names that file. */
function traceOf(spec: VmSpec): string {
  if (spec.disk !== undefined) return spec.disk;
  throw new RomulusError('HV_UNSUPPORTED', `the description of ${spec.name} names no trace`, {
    hint: 'set disk: to a trace that romulus record wrote',
  });
}
