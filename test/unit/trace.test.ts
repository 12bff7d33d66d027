/** Reading and writing traces: what is written is read back, and what is damaged is refused with what and where. */

import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { engine } from '../../native/index.ts';
import { TraceReader } from '../../shared/hypervisor/trace.ts';
import { decodeHeader, encodeHeader } from '../../shared/hypervisor/trace-format.ts';
import { type MadeUpTrace, makeTrace } from '../support/trace.ts';

let made: MadeUpTrace;
let unpacked: Buffer;

beforeAll(async () => {
  made = await makeTrace();
  unpacked = execFileSync('zstd', ['-dc', made.path], { maxBuffer: 2 ** 26 });
});
afterAll(() => rmSync(dirname(made.path), { recursive: true }));

/** A trace file of these unpacked bytes. */
function packed(name: string, data: Buffer): string {
  const path = `${made.path}.${name}`;
  writeFileSync(path, execFileSync('zstd', ['-c'], { input: data, maxBuffer: 2 ** 26 }));
  return path;
}

function changed(at: number, value: number): Buffer {
  const copy = Buffer.from(unpacked);
  copy.writeUInt32LE(value, at);
  return copy;
}

async function readWhole(path: string): Promise<Buffer[]> {
  const trace = await TraceReader.open(path);
  const memory = engine().anonymousMemory(trace.header.ramBytes);
  try {
    await trace.loadInitial(memory);
    const memories = [memory.read(0, memory.sizeBytes)];
    while (await trace.advance(memory)) memories.push(memory.read(0, memory.sizeBytes));
    return memories;
  } finally {
    memory.close();
    trace.close();
  }
}

describe('a trace', () => {
  it('is read back as it was written: memory after each epoch, dirty pages, times', async () => {
    const memories = await readWhole(made.path);
    expect(memories.length).toBe(made.memories.length);
    memories.forEach((memory, epoch) => {
      expect(memory.equals(made.memories[epoch] ?? Buffer.alloc(0))).toBe(true);
    });
    const trace = await TraceReader.open(made.path);
    expect(trace.epochs.map((epoch) => [...epoch.pages])).toEqual(made.dirty);
    expect(trace.epochs[0]).toMatchObject({ runMs: 50, stopMs: 1, scanMs: 0.5, contMs: 0.25 });
    expect(trace.header).toMatchObject({ name: 'made-up', epochMs: 50, epochs: 4, ramBytes: made.ramBytes });
    trace.close();
  });

  it('may be closed at any point without reading the rest', async () => {
    const trace = await TraceReader.open(made.path);
    trace.close();
  });

  it('may have no epoch at all', async () => {
    const empty = await makeTrace({ epochs: 0 });
    const memories = await readWhole(empty.path);
    expect(memories.length).toBe(1);
    rmSync(dirname(empty.path), { recursive: true });
  });

  it('is refused when its file is cut short, naming the part it ends in', async () => {
    const file = readFileSync(made.path);
    const path = `${made.path}.cut`;
    writeFileSync(path, file.subarray(0, file.length - 40));
    await expect(readWhole(path)).rejects.toMatchObject({
      code: 'TRACE_INVALID',
      message: expect.stringMatching(/ends within epoch 4/),
    });
  });

  it('is refused wherever its stream ends early', async () => {
    const cuts = [0, 8, 63, 64, 100, 64 + 4 * 24 + 10, unpacked.length - 1];
    for (const [i, cut] of cuts.entries()) {
      const path = packed(`short-${i}`, unpacked.subarray(0, cut));
      await expect(readWhole(path), `cut at ${cut}`).rejects.toMatchObject({ code: 'TRACE_INVALID' });
    }
  });

  it.each<[string, () => Buffer, RegExp]>([
    ['another magic', () => changed(0, 1), /FTRACE1/],
    ['a memory that is not whole pages', () => changed(8, made.ramBytes + 1), /whole pages/],
    ['more memory than any guest has', () => changed(12, 2 ** 31), /ramBytes/],
    ['more epochs than are allowed', () => changed(20, 2 ** 32 - 1), /epochs/],
    ['more union pages than the guest has', () => changed(24, 1_000_000), /unionPages/],
    ['a sum of dirty pages that no epochs make', () => changed(28, 2 ** 31), /dirtyPages/],
    ['an epoch whose bitmap says otherwise', () => changed(64, 1), /epoch 1 names 1 dirty pages/],
    ['bytes after its end', () => Buffer.concat([unpacked, Buffer.from([0])]), /left over/],
    [
      'text',
      () => Buffer.from('not a trace at all, not even close, and still a bit longer than 64 bytes'),
      /FTRACE1/,
    ],
  ])('is refused with %s', async (name, data, message) => {
    const path = packed(name.replaceAll(' ', '-'), data());
    await expect(readWhole(path)).rejects.toMatchObject({
      code: 'TRACE_INVALID',
      message: expect.stringMatching(message),
    });
  });

  it('is refused when it is no zstd file, or not there', async () => {
    const path = `${made.path}.plain`;
    writeFileSync(path, unpacked);
    await expect(readWhole(path)).rejects.toMatchObject({ code: 'TRACE_INVALID' });
    await expect(readWhole(`${made.path}.gone`)).rejects.toMatchObject({
      code: 'TRACE_INVALID',
      message: expect.stringMatching(/no such file/),
    });
  });
});

describe('a trace header', () => {
  it('keeps a name of any length within its field', () => {
    const header = { ramBytes: 4096, epochMs: 1, epochs: 0, unionPages: 0, dirtyPages: 0 };
    for (const name of ['', 'a', 'x'.repeat(32), 'ü'.repeat(40)]) {
      const decoded = decodeHeader('t', encodeHeader({ name, ...header }));
      expect(name.startsWith(decoded.name)).toBe(true);
      expect(decoded).toMatchObject(header);
    }
  });
});
