/** Small JSON records that survive kill -9 and power loss whole: written beside, fsynced, renamed, directory fsynced. */

import { readFileSync } from 'node:fs';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { RomulusError } from './errors.ts';

/** Changes of one file come one after the other, in the order they were asked for. */
const turns = new Map<string, Promise<void>>();

/** Throws IMAGE_FULL when the disk is full, IMAGE_IO on any other error; the old record then still stands. */
export function writeRecord(path: string, record: object): Promise<void> {
  const text = JSON.stringify(record);
  return inTurn(path, async () => {
    try {
      await writeDurably(`${path}.new`, text);
      await rename(`${path}.new`, path);
      await syncDirectory(dirname(path));
    } catch (cause) {
      throw ioError(`cannot write ${path}`, cause);
    }
  });
}

export function removeRecord(path: string): Promise<void> {
  return inTurn(path, () => rm(path, { force: true }));
}

/** Resolves once the text would survive a power cut, if the directory's entry does. Never on the event loop's own thread: a disk may take its time. */
export async function writeDurably(path: string, text: string): Promise<void> {
  const file = await open(path, 'w', 0o600);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

function inTurn(path: string, change: () => Promise<void>): Promise<void> {
  const mine = (turns.get(path) ?? Promise.resolve()).then(change);
  const settled = mine.catch(() => {}); // whoever asked for it gets the error
  turns.set(path, settled);
  void settled.then(() => {
    if (turns.get(path) === settled) turns.delete(path);
  });
  return mine;
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
