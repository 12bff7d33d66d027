/** Builds the Xen addon where Xen's development files are installed, and does nothing, saying so, where they are not. */

import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
if (!existsSync('/usr/include/xenctrl.h')) {
  console.log('xen: libxen-dev is not installed, the Xen addon is left out');
  process.exit(0);
}
// Headers beside this Node spare node-gyp a download.
const prefix = dirname(dirname(process.execPath));
const headers = existsSync(join(prefix, 'include/node/node_version.h')) ? [`--nodedir=${prefix}`] : [];
const gyp = ['configure', 'build', '--silent', ...headers];
const found = process.env.npm_config_node_gyp;
const [command, args] = found ? [process.execPath, [found, ...gyp]] : ['npx', ['node-gyp', ...gyp]];
const { status } = spawnSync(command, args, { cwd: here, stdio: 'inherit' });
process.exit(status ?? 1);
