import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Journal } from '../../backup/image/journal.ts';
import { type ImageRecord, RecordFile } from '../../backup/image/record.ts';
import { encodeFrame, framed } from '../../shared/wire/frame.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'romulus-journal-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const frame = (sequence: number) => encodeFrame(5, sequence, { epoch: sequence });

describe('the journal', () => {
  it('counts an epoch only once it is committed', async () => {
    const journal = new Journal(dir, 'memory');
    await journal.append(1, frame(1));
    expect(new Journal(dir, 'memory').recover()).toEqual([]);
    expect(readdirSync(dir)).toEqual([]);
  });

  it.each(['memory', 'disk'] as const)(
    'brings back what was committed, in order (%s)',
    async (durability) => {
      const journal = new Journal(dir, durability);
      for (const epoch of [1, 2, 10]) {
        await journal.append(epoch, frame(epoch));
        await journal.append(epoch, frame(epoch + 1));
        journal.commit(epoch);
      }
      const again = new Journal(dir, durability);
      expect(again.recover()).toEqual([1, 2, 10]);
      expect(again.read(10).map((read) => read.sequence)).toEqual([10, 11]);
      again.forget(10);
      expect(again.recover()).toEqual([1, 2]);
    },
  );

  it('drops an epoch given up half way', async () => {
    const journal = new Journal(dir, 'memory');
    await journal.append(3, frame(3));
    journal.abort();
    expect(existsSync(join(dir, 'epoch-3.part'))).toBe(false);
  });

  it('keeps long frames, which are written aside, in the order they came in, and commits none that is not written', async () => {
    const journal = new Journal(dir, 'memory');
    const long = (sequence: number) => encodeFrame(5, sequence, {}, framed(Buffer.alloc(2 ** 20, sequence)));
    const writing = [long(1), frame(2), long(3), long(4), frame(5)].map((each) => journal.append(1, each));
    expect(() => journal.commit(1)).toThrow('not staged');
    await Promise.all(writing);
    journal.commit(1);
    expect(journal.read(1).map((read) => read.sequence)).toEqual([1, 2, 3, 4, 5]);
  });

  it('may give up an epoch while its frames are being written, and begin it anew', async () => {
    const journal = new Journal(dir, 'memory');
    const long = encodeFrame(5, 1, {}, framed(Buffer.alloc(2 ** 20, 1)));
    const given = [journal.append(1, long), journal.append(1, long)];
    journal.abort();
    await journal.append(1, frame(7));
    await Promise.all(given);
    journal.commit(1);
    expect(journal.read(1).map((read) => read.sequence)).toEqual([7]);
    expect(readdirSync(dir)).toEqual(['epoch-1.committed']);
  });

  it('writes over the file of an epoch that has served, and shows nothing of it', async () => {
    const journal = new Journal(dir, 'memory');
    for (const frames of [3, 1, 2]) {
      for (let i = 0; i < frames; i++) await journal.append(frames, frame(i));
      journal.commit(frames);
      expect(journal.read(frames).map((read) => read.sequence)).toEqual([0, 1, 2].slice(0, frames));
      journal.forget(frames);
      expect(readdirSync(dir)).toEqual([`epoch-${frames}.spare`]);
    }
    expect(new Journal(dir, 'memory').recover()).toEqual([]);
    expect(readdirSync(dir)).toEqual([]);
  });

  it('writes over no file on a disk, whose names may be older than what is in it after a power cut', async () => {
    const journal = new Journal(dir, 'disk');
    await journal.append(1, frame(1));
    journal.commit(1);
    journal.forget(1);
    expect(readdirSync(dir)).toEqual([]);
  });

  it('refuses a committed epoch torn at any offset', async () => {
    const journal = new Journal(dir, 'memory');
    await journal.append(1, frame(1));
    await journal.append(1, frame(2));
    journal.commit(1);
    const path = join(dir, 'epoch-1.committed');
    const whole = readFileSync(path);
    const boundary = frame(1).length;
    for (let length = whole.length - 1; length > 0; length--) {
      truncateSync(path, length);
      // A cut between two frames leaves a readable file; the missing commit frame is what gives it away.
      if (length === boundary) expect(journal.read(1)).toHaveLength(1);
      else expect(() => journal.read(1)).toThrow('damaged');
    }
  });
});

describe("the image's record", () => {
  const record = (applied: number): ImageRecord => ({
    lineage: 'l',
    term: 1,
    applied,
    syncing: false,
    ramBytes: 4096,
    stateBytes: 0,
    digest: '0'.repeat(16),
    stateDigest: '0'.repeat(16),
  });

  it('falls back to the one before when the newest was torn at any offset', async () => {
    const path = join(dir, 'record');
    const file = new RecordFile(path);
    file.write(record(1));
    const before = readFileSync(path);
    file.write(record(2));
    file.close();
    const after = readFileSync(path);
    for (let torn = 0; torn < after.length; torn += 7) {
      writeFileSync(path, Buffer.concat([after.subarray(0, torn), before.subarray(torn)]));
      const read = new RecordFile(path);
      expect([1, 2]).toContain(read.current?.applied);
      read.close();
    }
    writeFileSync(path, after);
    const whole = new RecordFile(path);
    expect(whole.current?.applied).toBe(2);
    whole.close();
  });
});
