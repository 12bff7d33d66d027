/** Running compilers from the build scripts: their output is ours, their failure ends us. */

import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of the C++ sources; every command runs in it. */
export const nativeDir = dirname(fileURLToPath(import.meta.url));

/** Runs to the end with our terminal; ends this process with the same code if it fails. */
export function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit', cwd: nativeDir, ...options });
  if (error) fail(`cannot run ${command}: ${error.message}`);
  if (status !== 0) process.exit(status ?? 1);
}

export function fail(message) {
  console.error(`romulus: ${message}`);
  process.exit(1);
}
