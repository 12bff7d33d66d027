/** What the testbed's hosts boot from, and the engine and Xen addon they run: built once, and again when their sources change. */

import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';

const root = dirname(createRequire(import.meta.url).resolve('#package'));

/** False where a step failed, which then has said why. Its output goes to stderr. */
export function buildTestbed(): boolean {
  const steps: [string, ...string[]][] = [
    [join(root, 'test/xen/testbed/build.sh')],
    [process.execPath, join(root, 'native/build.mjs')],
    [process.execPath, join(root, 'native/xen/build.mjs')],
  ];
  return steps.every(
    ([command, ...args]) => spawnSync(command, args, { stdio: ['ignore', 2, 2] }).status === 0,
  );
}
