/** Puts programs for dom0 into a shared directory: in few files (Node under TCG loads modules slowly), with both addons beside. */

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
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
  // Bundled CommonJS dependencies call require, which an ES module has not.
  const banner =
    "import { createRequire as bundled } from 'node:module'; const require = bundled(import.meta.url);";
  const { status } = spawnSync(
    join(root, 'node_modules/.bin/esbuild'),
    [
      ...entries.map((entry) => join(root, entry)),
      '--bundle',
      '--platform=node',
      '--format=esm',
      '--target=node20',
      '--log-level=warning',
      '--loader:.node=copy',
      // What is loaded on demand stays apart, and parsing what is not is the most of a start.
      '--splitting',
      '--minify-whitespace',
      '--minify-syntax',
      `--outdir=${dir}`,
      '--entry-names=[name]',
      '--out-extension:.js=.mjs',
      `--banner:js=${banner}`,
    ],
    { stdio: 'inherit' },
  );
  if (status !== 0) throw new Error(`bundling ${entries.join(', ')} failed`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [dir, ...entries] = process.argv.slice(2);
  bundleForDom0(dir as string, entries);
}
