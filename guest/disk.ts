/** Adds a disk and its workload to the demo guest: virtio modules, `diskcheck`. */

import { chmod, copyFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command, GuestFeature } from './feature.ts';

/** In the order in which guest/disk loads them. */
export const diskModules = [
  'virtio_ring.ko',
  'virtio.ko',
  'virtio_pci_legacy_dev.ko',
  'virtio_pci_modern_dev.ko',
  'virtio_pci.ko',
  'virtio_blk.ko',
];

export const disk: GuestFeature = { sources: ['diskcheck.c', 'disk'], modules: diskModules, add: addDisk };

async function addDisk(root: string, sourceDir: string, command: Command): Promise<void> {
  const diskcheck = ['-O2', '-static', '-o', join(root, 'bin', 'diskcheck'), join(sourceDir, 'diskcheck.c')];
  await command('gcc', diskcheck, root);
  await copyFile(join(sourceDir, 'disk'), join(root, 'bin', 'disk'));
  await chmod(join(root, 'bin', 'disk'), 0o755);
}
