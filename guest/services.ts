/** Adds a network and its services to the demo guest: virtio modules, Debian's redis-server with its libraries, `transfer`. */

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { command } from './command.ts';
import type { GuestFeature } from './feature.ts';
import { addProgram, addScript, addSystemProgram } from './lay-out.ts';

/** In the order in which guest/services loads them. */
const networkModules = [
  'failover.ko',
  'net_failover.ko',
  'virtio_ring.ko',
  'virtio.ko',
  'virtio_pci_legacy_dev.ko',
  'virtio_pci_modern_dev.ko',
  'virtio_pci.ko',
  'virtio_net.ko',
];

const REDIS = '/usr/bin/redis-server';

export const services: GuestFeature = {
  sources: ['transfer.c', 'server.h', 'counter.c', 'services'],
  modules: networkModules,
  add: addServices,
};

async function addServices(root: string, sourceDir: string): Promise<void> {
  await mkdir(join(root, 'tmp'), { recursive: true });
  await command('ln', ['-s', 'busybox', join(root, 'bin', 'ip')], root);
  for (const name of ['transfer', 'counter']) await addProgram(root, sourceDir, name);
  await addScript(root, sourceDir, 'services');
  await addSystemProgram(root, REDIS, 'redis-server');
}
