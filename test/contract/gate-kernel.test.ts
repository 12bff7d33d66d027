/** The gate contract for `plug`, against its behaviour as measured on Debian's kernel (test/support/plug.ts). */

import { KernelGate } from '../../primary/output/kernel.ts';
import { FakePlug } from '../support/plug.ts';
import { gateContract } from './gate.ts';

gateContract('kernel', async () => {
  const plug = new FakePlug();
  const gate = new KernelGate('vif1.0', plug.request);
  gate.attachTo(7);
  return {
    gate,
    send: async (text) => plug.send(text),
    left: async () => plug.out,
    dispose: async () => gate.detach(),
  };
});
