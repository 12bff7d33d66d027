/** Runs the programs that guests are built with; one that is missing is named with the package that brings it. */

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { RomulusError } from '../shared/errors.ts';

const run = promisify(execFile);
const MAX_COMMAND_OUTPUT_BYTES = 256 * 1024 * 1024;

const PACKAGE_OF: Record<string, string> = {
  gcc: 'gcc libc6-dev',
  cpio: 'cpio',
  'apt-get': 'apt',
  'dpkg-deb': 'dpkg',
  ldd: 'libc-bin redis-server',
};

/** Returns what it printed. Throws PREREQUISITE. */
export async function command(file: string, args: string[], cwd: string): Promise<string> {
  try {
    return (await run(file, args, { cwd, maxBuffer: MAX_COMMAND_OUTPUT_BYTES })).stdout;
  } catch (cause) {
    const { code, stderr } = cause as { code?: string | number; stderr?: string };
    const missing = code === 'ENOENT' ? `${file} is not installed` : `${file} failed: ${stderr?.trim()}`;
    throw new RomulusError('PREREQUISITE', `cannot build the demo guest: ${missing}`, {
      hint: `apt-get update && apt-get install ${PACKAGE_OF[file] ?? 'busybox-static cpio'}`,
      cause,
    });
  }
}
