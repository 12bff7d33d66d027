/** Builds the library that goes into QEMU by LD_PRELOAD; native/build.mjs calls it, and it runs alone too. */

import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const sources = ['dirtylog.c', 'keeper.c'].map((name) => join(here, name));
const inputs = [...sources, join(here, 'keeper.h'), fileURLToPath(import.meta.url)];

/** Where the built library lies. */
export const preloadPath = join(here, '..', 'build', 'Release', 'dirtylog.so');

const modifiedMs = (path) => statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;

/** Compiles unless the library is newer than everything it is made of. A running QEMU keeps the old file. */
export function buildPreload() {
  if (modifiedMs(preloadPath) > Math.max(...inputs.map(modifiedMs))) return preloadPath;
  mkdirSync(dirname(preloadPath), { recursive: true });
  const fresh = `${preloadPath}.${process.pid}`;
  const flags = [
    '-O2',
    '-g',
    '-fPIC',
    '-shared',
    '-pthread',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-fvisibility=hidden',
  ];
  execFileSync(process.env.CC ?? 'cc', [...flags, '-o', fresh, ...sources], { stdio: 'inherit' });
  renameSync(fresh, preloadPath);
  return preloadPath;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(buildPreload());
