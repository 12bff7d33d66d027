/** Adds a disk and its workload to the demo guest: virtio modules, `diskcheck`. */

import type { GuestFeature } from './feature.ts';
import { addProgram, addScript } from './lay-out.ts';

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

async function addDisk(root: string, sourceDir: string): Promise<void> {
  await addProgram(root, sourceDir, 'diskcheck');
  await addScript(root, sourceDir, 'disk');
}
