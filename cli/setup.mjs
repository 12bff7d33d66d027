// @ts-check
/**
 * Installs missing system packages: `node cli/setup.mjs --for build,test`. As root on Debian it calls apt-get and
 * says so; anywhere else it prints the exact command and exits 1. With nothing missing it does nothing at all.
 */

import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { mendingCommands, missingFor } from './prerequisites.mjs';

/** Progress, on stderr: stdout belongs to the verb that runs afterwards. @param {string} line */
export function say(line) {
  process.stderr.write(`romulus: ${line}\n`);
}

/**
 * @param {import('./prerequisites.mjs').Purpose[]} purposes
 * @param {boolean} mayInstall
 * @returns {boolean} whether everything is there now
 */
export function setUp(purposes, mayInstall = process.getuid?.() === 0 && isDebian()) {
  const missing = missingFor(purposes);
  if (missing.length === 0) return true;
  for (const entry of missing) say(`missing: ${entry.what}; ${entry.why}`);
  const commands = mendingCommands(missing);
  if (!mayInstall) {
    say('this is not root on Debian, so nothing was installed. Run this, then try again:');
    process.stderr.write(`  ${asShellLine(commands, isDebian() ? 'sudo ' : '')}\n`);
    return false;
  }
  for (const command of commands) {
    say(`running ${command.join(' ')} (may take a few minutes)`);
    if (!runQuietly(command)) return false;
  }
  const left = missingFor(purposes);
  for (const entry of left) say(`still missing after the installation: ${entry.what}`);
  return left.length === 0;
}

/** @param {string[][]} commands @param {string} prefix */
export function asShellLine(commands, prefix) {
  return commands.map((command) => prefix + command.join(' ')).join(' && ');
}

export function isDebian() {
  try {
    const release = readFileSync('/etc/os-release', 'utf8');
    return /^ID(_LIKE)?=.*\b(debian|ubuntu)\b/m.test(release);
  } catch {
    return false;
  }
}

/** apt's many lines are shown only when it fails. @param {string[]} command */
function runQuietly(command) {
  const [program = '', ...args] = command;
  const run = spawnSync(program, args, {
    encoding: 'utf8',
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    maxBuffer: 64 * 1024 * 1024,
  });
  if (run.status === 0) return true;
  process.stderr.write(`${run.stdout ?? ''}${run.stderr ?? run.error ?? ''}`);
  say(`${command.join(' ')} failed (exit ${run.status}); mend this and try again`);
  return false;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const list = process.argv[process.argv.indexOf('--for') + 1] ?? '';
  const purposes = /** @type {import('./prerequisites.mjs').Purpose[]} */ (list.split(',').filter(Boolean));
  if (!process.argv.includes('--for') || purposes.length === 0) {
    say('usage: node cli/setup.mjs --for build|demo|agent|test|ci|xen[,...]');
    process.exitCode = 2;
  } else if (!setUp(purposes)) {
    process.exitCode = 1;
  }
}
