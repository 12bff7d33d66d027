/** A folder as an initramfs: busybox with the applets a first process needs, packed so that equal folders make equal files. */

import { copyFile, mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RomulusError } from '../shared/errors.ts';
import { command } from './command.ts';

/** `root`: a new folder. */
export async function layOutBusybox(root: string, applets: readonly string[]): Promise<void> {
  for (const name of ['bin', 'dev', 'lib', 'proc', 'sys']) await mkdir(join(root, name), { recursive: true });
  await copyFile(await firstExisting(['/bin/busybox', '/usr/bin/busybox']), join(root, 'bin', 'busybox'));
  for (const applet of applets) await command('ln', ['-s', 'busybox', join(root, 'bin', applet)], root);
}

/** Packs `dir`/root; returns the path of the file, which lies in `dir`. */
export async function pack(dir: string, root: string): Promise<string> {
  const names = (await command('find', ['.', '-print0'], root)).split('\0').filter(Boolean).sort();
  await writeFile(join(dir, 'names'), names.join('\n'));
  await command(
    'sh',
    ['-c', 'cpio --quiet --owner 0:0 -o -H newc < ../names | gzip -n -1 > ../initrd'],
    root,
  );
  return join(dir, 'initrd');
}

async function firstExisting(paths: string[]): Promise<string> {
  for (const path of paths) if (await stat(path).catch(() => undefined)) return path;
  throw new RomulusError('PREREQUISITE', 'busybox is not installed', {
    hint: 'apt-get install busybox-static',
  });
}
