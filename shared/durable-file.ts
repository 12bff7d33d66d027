/** Small JSON records that survive kill -9 and power loss whole: written beside, fsynced, renamed, directory fsynced. */

import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { RomulusError } from './errors.ts';

/** Throws IMAGE_FULL when the disk is full, IMAGE_IO on any other error; the old record then still stands. */
export function writeRecord(path: string, record: object): void {
  const temporary = `${path}.new`;
  try {
    const file = openSync(temporary, 'w', 0o600);
    try {
      writeSync(file, JSON.stringify(record));
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
    const directory = openSync(dirname(path), 'r');
    try {
      fsyncSync(directory);
    } finally {
      closeSync(directory);
    }
  } catch (cause) {
    throw ioError(`cannot write ${path}`, cause);
  }
}

/** undefined when there is no such record; throws IMAGE_CORRUPT when it is there and cannot be read as JSON. */
export function readRecord<T extends object>(path: string): T | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw ioError(`cannot read ${path}`, cause);
  }
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    throw new RomulusError('IMAGE_CORRUPT', `${path} is not a record this agent wrote`, {
      hint: `move it away and protect the VM anew: mv ${path} ${path}.bad`,
      cause,
    });
  }
}

export function removeRecord(path: string): void {
  rmSync(path, { force: true });
}

/** A full disk is told apart from a broken one, since the operator's next step differs. */
export function ioError(what: string, cause: unknown): RomulusError {
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new RomulusError('IMAGE_FULL', `${what}: no space left`, {
      hint: 'free space there: df -h',
      cause,
    });
  }
  return new RomulusError('IMAGE_IO', `${what}: ${message}`, {
    hint: 'see dmesg for errors of that disk',
    cause,
  });
}
