/** Adds a network and its services to the demo guest: virtio modules, Debian's redis-server with its libraries, `transfer`. */

import { chmod, copyFile, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { RomulusError } from '../shared/errors.ts';
import type { Command, GuestFeature } from './feature.ts';

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
  sources: ['transfer.c', 'counter.c', 'services'],
  modules: networkModules,
  add: addServices,
};

async function addServices(root: string, sourceDir: string, command: Command): Promise<void> {
  await mkdir(join(root, 'tmp'), { recursive: true });
  await command('ln', ['-s', 'busybox', join(root, 'bin', 'ip')], root);
  for (const name of ['transfer', 'counter']) {
    await command(
      'gcc',
      ['-O2', '-static', '-o', join(root, 'bin', name), join(sourceDir, `${name}.c`)],
      root,
    );
  }
  await copyFile(join(sourceDir, 'services'), join(root, 'bin', 'services'));
  await chmod(join(root, 'bin', 'services'), 0o755);
  for (const path of [REDIS, ...(await librariesOf(REDIS, root, command))]) {
    const place = join(root, path === REDIS ? 'bin/redis-server' : path);
    await mkdir(dirname(place), { recursive: true });
    await copyFile(path, place).catch((cause) => {
      throw new RomulusError('PREREQUISITE', `cannot build the demo guest: ${path} is not installed`, {
        hint: 'apt-get install redis-server',
        cause,
      });
    });
  }
}

/** Absolute paths, the dynamic loader among them; copyFile follows their links. */
export async function librariesOf(program: string, cwd: string, command: Command): Promise<string[]> {
  const lines = (await command('ldd', [program], cwd)).split('\n');
  return lines.flatMap((line) => /(?:=>\s+)?(\/\S+)\s+\(0x/.exec(line)?.[1] ?? []);
}
