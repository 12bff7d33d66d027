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
import { encodeFrame } from '../../shared/wire/frame.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'romulus-journal-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const frame = (sequence: number) => encodeFrame(5, sequence, { epoch: sequence });

describe('the journal', () => {
  it('counts an epoch only once it is committed', () => {
    const journal = new Journal(dir, 'memory');
    journal.append(1, frame(1));
    expect(new Journal(dir, 'memory').recover()).toEqual([]);
    expect(readdirSync(dir)).toEqual([]);
  });

  it.each(['memory', 'disk'] as const)('brings back what was committed, in order (%s)', (durability) => {
    const journal = new Journal(dir, durability);
    for (const epoch of [1, 2, 10]) {
      journal.append(epoch, frame(epoch));
      journal.append(epoch, frame(epoch + 1));
      journal.commit(epoch);
    }
    const again = new Journal(dir, durability);
    expect(again.recover()).toEqual([1, 2, 10]);
    expect(again.read(10).map((read) => read.sequence)).toEqual([10, 11]);
    again.forget(10);
    expect(again.recover()).toEqual([1, 2]);
  });

  it('drops an epoch given up half way', () => {
    const journal = new Journal(dir, 'memory');
    journal.append(3, frame(3));
    journal.abort();
    expect(existsSync(join(dir, 'epoch-3.part'))).toBe(false);
  });

  it('writes over the file of an epoch that has served, and shows nothing of it', () => {
    const journal = new Journal(dir, 'memory');
    for (const frames of [3, 1, 2]) {
      for (let i = 0; i < frames; i++) journal.append(frames, frame(i));
      journal.commit(frames);
      expect(journal.read(frames).map((read) => read.sequence)).toEqual([0, 1, 2].slice(0, frames));
      journal.forget(frames);
      expect(readdirSync(dir)).toEqual([`epoch-${frames}.spare`]);
    }
    expect(new Journal(dir, 'memory').recover()).toEqual([]);
    expect(readdirSync(dir)).toEqual([]);
  });

  it('writes over no file on a disk, whose names may be older than what is in it after a power cut', () => {
    const journal = new Journal(dir, 'disk');
    journal.append(1, frame(1));
    journal.commit(1);
    journal.forget(1);
    expect(readdirSync(dir)).toEqual([]);
  });

  it('refuses a committed epoch torn at any offset', () => {
    const journal = new Journal(dir, 'memory');
    journal.append(1, frame(1));
    journal.append(1, frame(2));
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

  it('falls back to the one before when the newest was torn at any offset', () => {
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
