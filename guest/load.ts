/** Adds Debian's fio to the demo guest, and a way to run it from outside. */

import { chmod, copyFile, mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { RomulusError } from '../shared/errors.ts';
import { diskModules } from './disk.ts';
import type { Command, GuestFeature } from './feature.ts';
import { librariesOf } from './services.ts';

const FIO = '/usr/bin/fio';

export const load: GuestFeature = { sources: ['runner.c', 'load'], modules: diskModules, add: addLoad };

async function addLoad(root: string, sourceDir: string, command: Command): Promise<void> {
  await command(
    'gcc',
    ['-O2', '-static', '-o', join(root, 'bin', 'runner'), join(sourceDir, 'runner.c')],
    root,
  );
  await copyFile(join(sourceDir, 'load'), join(root, 'bin', 'load'));
  await chmod(join(root, 'bin', 'load'), 0o755);
  for (const path of [FIO, ...(await librariesOf(FIO, root, command))]) {
    const place = join(root, path === FIO ? 'bin/fio' : path);
    await mkdir(dirname(place), { recursive: true });
    await copyFile(path, place).catch((cause) => {
      throw new RomulusError('PREREQUISITE', `cannot build the demo guest: ${path} is not installed`, {
        hint: 'apt-get install fio',
        cause,
      });
    });
  }
}
