// @ts-check
/**
 * Launcher of `npm run demo` and `npm run romulus`: brings a fresh clone to the point where cli/main.ts runs, then
 * runs it. Touches the network only when something is missing; progress goes to stderr.
 */

import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { say, setUp } from './setup.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const lockFile = join(root, 'package-lock.json');
const addon = join(root, 'native', 'build', 'Release', 'engine.node');
/** Holds the hash of the lock that node_modules was installed from; gone with node_modules itself. */
const lockMark = join(root, 'node_modules', '.romulus-lock');

const args = process.argv.slice(2);
if (!prepare()) process.exit(1);
launch();

function prepare() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 17)) {
    say(`Node ${process.versions.node} is too old; 20.17 or newer is needed: https://nodejs.org/en/download`);
    return false;
  }
  const isDemo = args.includes('demo');
  // A replay needs neither QEMU nor a guest.
  const needsGuest = isDemo && !/--guest[= ](replay|xen)\b/.test(args.join(' '));
  if (needsGuest && !setUp(['demo', 'agent'])) return false;
  return dependenciesAreCurrent() || install();
}

function dependenciesAreCurrent() {
  if (!existsSync(addon) || !existsSync(join(root, 'node_modules', 'tsx'))) return false;
  if (existsSync(lockMark)) return readFileSync(lockMark, 'utf8') === lockHash();
  // Installed by npm itself: its own record of the tree says whether it is this lock's.
  return installedMatchesLock() && mark();
}

function installedMatchesLock() {
  try {
    const read = (/** @type {string} */ path) => JSON.parse(readFileSync(path, 'utf8')).packages;
    const wanted = read(lockFile);
    const installed = read(join(root, 'node_modules', '.package-lock.json'));
    return Object.entries(wanted).every(
      ([path, entry]) => path === '' || entry.optional || installed[path]?.version === entry.version,
    );
  } catch {
    return false;
  }
}

function install() {
  if (!setUp(['build'])) return false;
  say('running npm ci (installs the dependencies and builds the engine; a minute or two)');
  // npm's own lines go to stderr too: stdout belongs to the verb.
  const run = spawnSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: root, stdio: ['ignore', 2, 2] });
  if (run.status !== 0) {
    say('npm ci failed; the lines above say why');
    return false;
  }
  return mark();
}

function mark() {
  writeFileSync(lockMark, lockHash());
  return true;
}

function lockHash() {
  return createHash('sha256').update(readFileSync(lockFile)).digest('hex');
}

function launch() {
  // tsx as an import hook, so that the verb runs in one process, which gets the signals itself.
  const hook = import.meta.resolve('tsx');
  const child = spawn(process.execPath, ['--import', hook, join(root, 'cli', 'main.ts'), ...args], {
    stdio: 'inherit',
  });
  // Ctrl-C reaches the child by itself, through the terminal; SIGTERM is passed on.
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  child.once('exit', (code, signal) => {
    process.exitCode = signal ? 1 : (code ?? 1);
    if (signal) say(`ended by ${signal}`);
  });
}
