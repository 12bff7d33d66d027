/** Debian's kernels, for guests: one file and the few modules a guest loads. */

import { createHash } from 'node:crypto';
import { chmod, mkdir, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { RomulusError } from '../shared/errors.ts';
import { once } from './cache.ts';
import { command } from './command.ts';

/** A folder with `vmlinuz` and the modules named ("tun.ko"), downloaded the first time. */
export function debianKernel(packageName: string, modules: readonly string[]): Promise<string> {
  const version = createHash('sha256').update(modules.join()).digest('hex').slice(0, 8);
  return once('linux', `${packageName}-${version}`, (dir) => downloadKernel(packageName, modules, dir));
}

/** Takes the kernel out of Debian's package without installing it, so that no root is needed. */
async function downloadKernel(packageName: string, modules: readonly string[], dir: string): Promise<string> {
  await chmod(dir, 0o755); // apt downloads as user _apt, where it can
  const dependencies = await command('apt-cache', ['depends', packageName], dir);
  const image = /Depends: (linux-image-\S+)/.exec(dependencies)?.[1];
  if (image === undefined) {
    throw new RomulusError('PREREQUISITE', `apt does not know ${packageName}`, { hint: 'apt-get update' });
  }
  await command('apt-get', ['download', '-qq', image], dir);
  const archive = (await readdir(dir)).find((file) => file.endsWith('.deb'));
  await command('dpkg-deb', ['-x', archive ?? '', 'root'], dir);
  const boot = join(dir, 'root', 'boot');
  const kernel = (await readdir(boot)).find((file) => file.startsWith('vmlinuz-'));
  if (kernel === undefined) throw new RomulusError('INTERNAL', `${archive} holds no kernel`);
  const kept = join(dir, 'kept');
  await mkdir(kept);
  await rename(join(boot, kernel), join(kept, 'vmlinuz'));
  for (const file of await readdir(join(dir, 'root'), { recursive: true, withFileTypes: true })) {
    if (modules.includes(file.name)) await rename(join(file.path, file.name), join(kept, file.name));
  }
  return kept;
}
