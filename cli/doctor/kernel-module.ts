/** Whether the running kernel can do what a module brings. */

import { existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';

/** Loaded, built in, or there to be loaded. */
export function hasModule(name: string): boolean {
  if (existsSync(`/sys/module/${name}`)) return true;
  return ['modules.dep', 'modules.builtin'].some((file) => {
    try {
      return readFileSync(`/lib/modules/${release()}/${file}`, 'utf8').includes(`/${name}.ko`);
    } catch {
      return false;
    }
  });
}
