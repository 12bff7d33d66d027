/** Builds the Xen addon where Xen's development files are installed, and says so where they are not. */

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../command.mjs';

if (!existsSync('/usr/include/xenctrl.h')) {
  console.error('romulus: the Xen addon is left out. To build it: apt-get install libxen-dev');
  process.exit(0);
}
const npmModules = execFileSync('npm', ['root', '-g'], { encoding: 'utf8' }).trim();
const nodeGyp =
  process.env.npm_config_node_gyp ?? join(npmModules, 'npm/node_modules/node-gyp/bin/node-gyp.js');
// Headers beside this Node spare node-gyp a download.
const prefix = dirname(dirname(process.execPath));
const headers = existsSync(join(prefix, 'include/node/node_version.h')) ? [`--nodedir=${prefix}`] : [];
const here = dirname(fileURLToPath(import.meta.url));
run(process.execPath, [nodeGyp, 'configure', 'build', '--loglevel=warn', ...headers], { cwd: here });
