/** The gates of a guest, one per network device: the relay for QEMU, `plug` in the kernel for Xen's vifs. */

import { join } from 'node:path';
import { networkSocket, qemuFiles } from '../../shared/hypervisor/qemu-args.ts';
import type { VmSpec } from '../../shared/vm.ts';
import type { OutputGate } from './gate.ts';
import { KernelGate } from './kernel.ts';
import { RelayGate } from './relay.ts';

/** Shut, taps open; attach() comes once the guest's hypervisor runs. PREREQUISITE when this host cannot make the taps. */
export function openGates(spec: VmSpec, place: { runDir: string }): OutputGate[] {
  const gates: OutputGate[] = [];
  try {
    for (const [index, network] of (spec.networks ?? []).entries()) {
      gates.push(
        spec.hypervisor === 'xen'
          ? new KernelGate(network.tap)
          : new RelayGate(network, networkSocket(qemuFiles(join(place.runDir, spec.name)), index)),
      );
    }
  } catch (thrown) {
    for (const gate of gates) gate.detach();
    throw thrown;
  }
  return gates;
}
