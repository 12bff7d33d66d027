/** The persistent term: what it promises across restarts, power cuts and damage. */

import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { TermFile } from '../../shared/control/terms.ts';

let directory: string;
let path: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'romulus-terms-'));
  path = join(directory, 'vm', 'term');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

describe('the term file', () => {
  it('starts at term 0, as a backup', async () => {
    expect((await TermFile.open(path)).current).toEqual({ term: 0, role: 'backup', epoch: 0 });
  });

  it('is read back as it was saved', async () => {
    const saved = { term: 7, role: 'primary', epoch: 2 ** 52 } as const;
    await (await TermFile.open(path)).save(saved);
    expect((await TermFile.open(path)).current).toEqual(saved);
  });

  it('refuses to go backwards, and keeps what it has', async () => {
    const file = await TermFile.open(path);
    await file.save({ term: 3, role: 'backup', epoch: 0 });
    await expect(file.save({ term: 2, role: 'primary', epoch: 9 })).rejects.toMatchObject({
      code: 'TERM_STALE',
    });
    expect((await TermFile.open(path)).current.term).toBe(3);
  });

  it('is refused when any single byte of it is damaged', async () => {
    await (await TermFile.open(path)).save({ term: 12, role: 'primary', epoch: 345 });
    const sound = await readFile(path);
    const checked = sound.length - 1; // The last line end carries nothing.
    for (let at = 0; at < checked; at += 1) {
      const damaged = Buffer.from(sound);
      damaged[at] = (damaged[at] ?? 0) ^ 1;
      await writeFile(path, damaged);
      await expect(TermFile.open(path), `byte ${at}`).rejects.toMatchObject({ code: 'TERM_CORRUPT' });
    }
  });

  it('is refused when it was cut short anywhere', async () => {
    await (await TermFile.open(path)).save({ term: 12, role: 'primary', epoch: 345 });
    const sound = await readFile(path);
    for (let length = 0; length < sound.length - 1; length += 1) {
      await writeFile(path, sound.subarray(0, length));
      await expect(TermFile.open(path), `${length} bytes`).rejects.toMatchObject({ code: 'TERM_CORRUPT' });
    }
  });

  it.each([
    ['terms-before-rename', 1],
    ['terms-after-rename', 2],
  ])('holds a whole record after kill -9 at %s', async (crashAt, term) => {
    await (await TermFile.open(path)).save({ term: 1, role: 'backup', epoch: 0 });
    const module = new URL('../../shared/control/terms.ts', import.meta.url).href;
    const script = `const { TermFile } = await import('${module}');
      await (await TermFile.open(${JSON.stringify(path)})).save({ term: 2, role: 'primary', epoch: 5 });`;
    const child = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
      env: { ...process.env, ROMULUS_CRASH_AT: crashAt },
    });
    expect(child.signal).toBe('SIGKILL');
    expect((await TermFile.open(path)).current.term).toBe(term);
  });
});
