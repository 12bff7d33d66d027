// @ts-check
/**
 * Launcher of `npm run demo` and `npm run romulus`: brings a fresh clone to the point where cli/main.ts runs, then
 * runs it. Touches the network only when something is missing; progress goes to stderr.
 */

import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { dependenciesAreCurrent, engineIsCurrent, markCurrent, root } from './freshness.mjs';
import { say, setUp } from './setup.mjs';

const args = process.argv.slice(2);
if (!prepare()) process.exit(1);
launch();

function prepare() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 17)) {
    say(`Node ${process.versions.node} is too old; 20.17 or newer is needed: https://nodejs.org/en/download`);
    return false;
  }
  const step = nextStep();
  // A replay needs neither QEMU nor a guest.
  const kind = args.includes('demo') ? (/--guest[= ](\w+)/.exec(args.join(' '))?.[1] ?? 'qemu') : undefined;
  /** @type {import('./prerequisites.mjs').Purpose[]} */
  const purposes = [];
  if (step) purposes.push('build');
  if (kind === 'qemu') purposes.push('demo', 'agent');
  if (kind === 'xen') purposes.push('build', 'xen', 'agent');
  if (purposes.length > 0 && !setUp(purposes)) return false;
  if (step && !npm(step.what, step.argv)) return false;
  markCurrent();
  return true;
}

/** What npm still has to do, if anything. */
function nextStep() {
  if (!dependenciesAreCurrent()) {
    return {
      what: 'running npm ci (installs the dependencies and builds the engine; a minute or two)',
      argv: ['ci', '--no-audit', '--no-fund'],
    };
  }
  if (engineIsCurrent()) return undefined;
  return { what: 'building the engine (its sources are newer)', argv: ['run', 'install'] };
}

/** npm's own lines go to stderr too: stdout belongs to the verb. @param {string} what @param {string[]} argv */
function npm(what, argv) {
  say(what);
  const run = spawnSync('npm', argv, { cwd: root, stdio: ['ignore', 2, 2] });
  if (run.status !== 0) say(`npm ${argv[0]} failed; the lines above say why`);
  return run.status === 0;
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
