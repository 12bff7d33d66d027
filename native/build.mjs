/**
 * Builds the engine: the addon by default (`npm ci` runs this), its C++ tests with --test or --asan, fuzzers with --fuzz SECONDS.
 * Compilers and headers are `node cli/setup.mjs --for build`'s to bring, which `npm ci` runs before.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fail, run } from './command.mjs';
import { buildPreload } from './preload/build.mjs';

/** node-gyp comes with npm: named by npm when it runs us, else found beside the npm on the PATH or beside node. */
function findNodeGyp() {
  const besideNode = resolve(
    dirname(process.execPath),
    '../lib/node_modules/npm/node_modules/node-gyp/bin/node-gyp.js',
  );
  const candidates = [
    process.env.npm_config_node_gyp,
    besideNode,
    '/usr/share/nodejs/node-gyp/bin/node-gyp.js',
  ];
  const npm = spawnSync('npm', ['root', '-g'], { encoding: 'utf8' });
  if (npm.status === 0) candidates.push(join(npm.stdout.trim(), 'npm/node_modules/node-gyp/bin/node-gyp.js'));
  const found = candidates.find((path) => path !== undefined && existsSync(path));
  return found ?? fail('node-gyp not found: it comes with npm. Run: npm install -g npm');
}

/** Headers that came with this very Node, so that a build needs no network; node-gyp downloads them otherwise. */
function nodeHeaderArgs() {
  const prefix = resolve(dirname(process.execPath), '..');
  const header = join(prefix, 'include/node/node_version.h');
  if (!existsSync(header)) return [];
  const text = readFileSync(header, 'utf8');
  const part = (name) => text.match(new RegExp(`#define NODE_${name}_VERSION (\\d+)`))?.[1];
  const version = ['MAJOR', 'MINOR', 'PATCH'].map(part).join('.');
  return version === process.versions.node ? [`--nodedir=${prefix}`] : [];
}

function buildAddon() {
  createRequire(import.meta.url).resolve('node-addon-api');
  run(process.execPath, [
    findNodeGyp(),
    'configure',
    'build',
    '--loglevel=warn',
    '-j',
    'max',
    ...nodeHeaderArgs(),
  ]);
}

const mode = process.argv[2];
if (mode === undefined) {
  buildAddon();
  buildPreload();
} else {
  const { runTests, runFuzzers } = await import('./build-tests.mjs');
  if (mode === '--test') await runTests({ sanitize: false });
  else if (mode === '--asan') await runTests({ sanitize: true });
  else if (mode === '--fuzz') await runFuzzers(Number(process.argv[3] ?? 60));
  else fail(`unknown option ${mode}: use --test, --asan or --fuzz SECONDS`);
}
