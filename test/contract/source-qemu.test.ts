/** The Source contract for QEMU guests: started by the agent, attached to, and where the kernel names no dirty pages. */

import { makeForeignGuest, makeQemuGuest } from '../support/qemu-guest.ts';
import { waitForTicks } from '../support/serial-log.ts';
import { sourceContract } from './source.ts';

sourceContract('QEMU started by the agent', async () => {
  const guest = await makeQemuGuest();
  return { open: guest.open, work: () => waitForTicks(guest.serialLog, 2), dispose: guest.dispose };
});

sourceContract('QEMU started by somebody else', async () => {
  const guest = await makeForeignGuest({ preload: true });
  return { open: guest.open, work: () => waitForTicks(guest.serialLog, 2), dispose: guest.dispose };
});

sourceContract('QEMU without the preload library', async () => {
  const guest = await makeForeignGuest({ preload: false });
  return { open: guest.open, work: () => waitForTicks(guest.serialLog, 2), dispose: guest.dispose };
});
