/** The Target contract for QEMU guests. */

import { mkdtemp } from 'node:fs/promises';
import { join } from 'node:path';
import { QemuTarget } from '../../backup/hypervisor/qemu.ts';
import { checkpointByHand } from '../support/checkpoint.ts';
import { makeQemuGuest } from '../support/qemu-guest.ts';
import { isFault, serialLines, ticksOf, waitForLog, waitForTicks } from '../support/serial-log.ts';
import { targetContract } from './target.ts';

targetContract('QEMU', async () => {
  const guest = await makeQemuGuest();
  const source = guest.open();
  await source.attach();
  await waitForTicks(guest.serialLog, 3);
  const standbyLog = join(guest.dir, 'standby.log');
  const spec = { ...guest.spec, serialLog: standbyLog };
  return {
    spec,
    geometry: source.geometry,
    open: () => new QemuTarget({ preloadPath: guest.preloadPath }),
    checkpoint: async () => checkpointByHand(source, await mkdtemp(join(guest.dir, 'standby-'))),
    async proveRunning() {
      const before = ticksOf(serialLines(standbyLog)).length;
      await waitForLog(standbyLog, (lines) => ticksOf(lines).length >= before + 10 || lines.some(isFault));
      const faults = serialLines(standbyLog).filter(isFault);
      if (faults.length > 0) throw new Error(faults.join('\n'));
    },
    async dispose() {
      await source.detach();
      await guest.dispose();
    },
  };
});
