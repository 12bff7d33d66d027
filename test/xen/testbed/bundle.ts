/** Puts programs for dom0 into a shared directory: each as one file (Node under TCG loads modules slowly), with both addons beside. */

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '../../..');

/** `entries` are paths within the repository; `dir/NAME.mjs` results from each. */
export function bundleForDom0(dir: string, entries: string[]): void {
  mkdirSync(dir, { recursive: true });
  copyFileSync(join(root, 'native/build/Release/engine.node'), join(dir, 'engine.node'));
  copyFileSync(join(root, 'native/build/Release/dirtylog.so'), join(dir, 'dirtylog.so'));
  copyFileSync(join(root, 'native/xen/build/Release/xen.node'), join(dir, 'xen.node'));
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const imports = {
    '#engine': './engine.node',
    '#preload': './dirtylog.so',
    '#xen': './xen.node',
    '#package': './package.json',
  };
  writeFileSync(join(dir, 'package.json'), JSON.stringify({ type: 'module', version, imports }));
  for (const entry of entries) {
    const outfile = join(dir, `${basename(entry, '.ts')}.mjs`);
    // Bundled CommonJS dependencies call require, which an ES module has not.
    const banner =
      "import { createRequire as bundled } from 'node:module'; const require = bundled(import.meta.url);";
    const args = [
      '--bundle',
      '--platform=node',
      '--format=esm',
      '--target=node20',
      '--log-level=warning',
      '--loader:.node=copy',
    ];
    const { status } = spawnSync(
      join(root, 'node_modules/.bin/esbuild'),
      [join(root, entry), ...args, `--outfile=${outfile}`, `--banner:js=${banner}`],
      { stdio: 'inherit' },
    );
    if (status !== 0) throw new Error(`bundling ${entry} failed`);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [dir, ...entries] = process.argv.slice(2);
  bundleForDom0(dir as string, entries);
}
