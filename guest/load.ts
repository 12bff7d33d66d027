/** Adds Debian's fio to the demo guest, and a way to run it from outside. */

import { diskModules } from './disk.ts';
import type { GuestFeature } from './feature.ts';
import { addProgram, addScript, addSystemProgram } from './lay-out.ts';

const FIO = '/usr/bin/fio';

export const load: GuestFeature = {
  sources: ['runner.c', 'server.h', 'load'],
  modules: diskModules,
  add: addLoad,
};

async function addLoad(root: string, sourceDir: string): Promise<void> {
  await addProgram(root, sourceDir, 'runner');
  await addScript(root, sourceDir, 'load');
  await addSystemProgram(root, FIO, 'fio');
}
