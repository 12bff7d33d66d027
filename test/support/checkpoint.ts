/** Takes one checkpoint by hand, without the epoch loop: what a standby needs to go on from this moment. */

import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { StandbyFiles } from '../../backup/hypervisor/target.ts';
import type { Source } from '../../primary/hypervisor/source.ts';

const COPY_BYTES = 2 ** 20;

/** Writes image and state below `dir` while the guest is paused, and lets it run on. */
export async function checkpointByHand(
  source: Source,
  dir: string,
): Promise<{ files: StandbyFiles; statePath: string }> {
  const files = { imagePath: join(dir, 'image'), runDir: join(dir, 'run') };
  const statePath = join(dir, 'state');
  mkdirSync(files.runDir, { recursive: true });
  await source.pause();
  try {
    writeFileSync(statePath, await source.deviceState());
    const image = openSync(files.imagePath, 'w');
    for (let offset = 0; offset < source.memory.sizeBytes; offset += COPY_BYTES) {
      const length = Math.min(COPY_BYTES, source.memory.sizeBytes - offset);
      writeSync(image, source.memory.read(offset, length), 0, length, offset);
    }
    closeSync(image);
  } finally {
    await source.resume();
  }
  return { files, statePath };
}
