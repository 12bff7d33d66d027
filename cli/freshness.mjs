// @ts-check
/** Whether what was installed and built still belongs to these sources; asked at each start, so it reads no file twice. */

import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url));
const buildDir = join(root, 'native', 'build');
const outputs = ['engine.node', 'dirtylog.so'].map((name) => join(buildDir, 'Release', name));
/** Holds the hash of the lock that node_modules was installed from; gone with node_modules itself. */
const lockMark = join(root, 'node_modules', '.romulus-lock');
/** Holds the digest of the native sources that were built; gone with the build. */
const sourceMark = join(buildDir, '.romulus-sources');
/** Folders of native/ that the addon is not made of. */
const apart = new Set(['build', 'test', 'bench', 'fuzz', 'xen']);

export function dependenciesAreCurrent() {
  if (!existsSync(join(root, 'node_modules', 'tsx'))) return false;
  return contentOf(lockMark) === lockHash() || installedMatchesLock();
}

export function engineIsCurrent() {
  if (!outputs.every((path) => existsSync(path))) return false;
  const mark = contentOf(sourceMark);
  if (mark !== undefined) return mark === sourceDigest();
  // Built by npm itself: then it must be younger than every source.
  const builtMs = Math.min(...outputs.map((path) => statSync(path).mtimeMs));
  return sources().every((path) => statSync(path).mtimeMs <= builtMs);
}

/** To be called when both are known to be current. */
export function markCurrent() {
  for (const [path, content] of [
    [lockMark, lockHash()],
    [sourceMark, sourceDigest()],
  ]) {
    // A checkout that belongs to somebody else can be run all the same.
    if (path && content && contentOf(path) !== content) tryWrite(path, content);
  }
}

/** npm's own record of what it installed, against the lock. */
function installedMatchesLock() {
  try {
    const read = (/** @type {string} */ path) => JSON.parse(readFileSync(path, 'utf8')).packages;
    const wanted = read(join(root, 'package-lock.json'));
    const installed = read(join(root, 'node_modules', '.package-lock.json'));
    return Object.entries(wanted).every(
      ([path, entry]) => path === '' || entry.optional || installed[path]?.version === entry.version,
    );
  } catch {
    return false;
  }
}

function lockHash() {
  return createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex');
}

function sourceDigest() {
  const digest = createHash('sha256');
  for (const path of sources()) digest.update(`${path}\0`).update(readFileSync(path));
  return digest.digest('hex');
}

function sources(dir = join(root, 'native'), skip = apart) {
  /** @type {string[]} */
  const found = [];
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name);
    if (entry.isDirectory() && !skip.has(entry.name)) found.push(...sources(path, new Set()));
    else if (/\.(cc|c|h|gyp|gypi)$/.test(entry.name)) found.push(path);
  }
  return found.sort();
}

/** @param {string} path */
function contentOf(path) {
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
}

/** @param {string} path @param {string} content */
function tryWrite(path, content) {
  try {
    writeFileSync(path, content);
  } catch {
    // Without the mark the question is asked the longer way next time.
  }
}
