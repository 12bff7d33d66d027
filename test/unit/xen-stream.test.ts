/** The stream of a Xen guest, byte for byte where Xen's format says what a byte is. */

import { pack, unpack } from 'msgpackr';
import { describe, expect, it } from 'vitest';
import { RecordType } from '../../shared/hypervisor/xen-records.ts';
import { packXenState, unpackXenState, type XenState } from '../../shared/hypervisor/xen-state.ts';
import { checkpoint, saveFile } from '../../shared/hypervisor/xen-stream.ts';

/** Three frames of RAM, of which the second is absent, and one special frame at gfn 0xfeff8 (page 120). */
const state: XenState = {
  xenVersion: '4.17',
  config: '{"c_info":{"type":"pvh","name":"guest"}}',
  regions: [
    { gfn: 0, page: 0, pages: 3 },
    { gfn: 0xfeff8, page: 120, pages: 1 },
  ],
  absent: bits(128, 1),
  leaves: Buffer.alloc(24, 1),
  msrs: Buffer.alloc(16, 2),
  tsc: Buffer.alloc(24, 3),
  context: Buffer.alloc(13, 4),
  params: Buffer.alloc(32, 5),
};

function bits(pages: number, ...set: number[]): Buffer {
  const buffer = Buffer.alloc(pages / 8);
  for (const page of set) buffer[page >> 3] = (buffer[page >> 3] as number) | (1 << (page & 7));
  return buffer;
}

/** Each page filled with its number. */
const read = (page: number, pages: number): Buffer =>
  Buffer.concat(Array.from({ length: pages }, (_, i) => Buffer.alloc(4096, page + i)));

interface StreamRecord {
  type: number;
  body: Buffer;
}

/** The records from `offset` on; every one must end on a multiple of 8. */
function records(stream: Buffer, offset: number): StreamRecord[] {
  const found: StreamRecord[] = [];
  for (let at = offset; at < stream.length; ) {
    const length = stream.readUInt32LE(at + 4);
    found.push({ type: stream.readUInt32LE(at), body: stream.subarray(at + 8, at + 8 + length) });
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return found;
}

const xlHeaderBytes = 52 + state.config.length + 1;
const stream = Buffer.concat([...saveFile(state, read)]);

describe('a Xen save file', () => {
  it("begins with xl's magic, byte order mark and the domain's configuration", () => {
    expect(stream.subarray(0, 32).toString('latin1')).toBe('Xen saved domain, xl format\n \0 \r');
    expect(stream.readUInt32LE(32)).toBe(0x01020304);
    expect(stream.readUInt32LE(44)).toBe(4 + state.config.length + 1);
    expect(stream.subarray(52, xlHeaderBytes).toString()).toBe(`${state.config}\0`);
  });

  it("goes on with libxl's and libxc's heads in big-endian where the format has it so", () => {
    const libxl = stream.subarray(xlHeaderBytes);
    expect(libxl.subarray(0, 16).toString('hex')).toBe('4c6962786c466d740000000200000000');
    expect(libxl.subarray(16, 24).toString('hex')).toBe('0100000000000000');
    expect(libxl.subarray(24, 48).toString('hex')).toBe(
      'ffffffffffffffff58454e460000000300' + '00000000000000',
    );
    expect(libxl.subarray(48, 64).toString('hex')).toBe('020000000c0000000400000011000000');
  });

  it('sends static data, then memory, then the processors, and ends both streams', () => {
    const types = records(stream, xlHeaderBytes + 64).map(({ type }) => type);
    expect(types).toEqual([
      RecordType.X86_CPUID_POLICY,
      RecordType.X86_MSR_POLICY,
      RecordType.STATIC_DATA_END,
      RecordType.PAGE_DATA,
      RecordType.PAGE_DATA,
      RecordType.PAGE_DATA,
      RecordType.X86_TSC_INFO,
      RecordType.HVM_CONTEXT,
      RecordType.HVM_PARAMS,
      RecordType.END,
      RecordType.END,
    ]);
  });

  it('names guest frames, not pages of the image, and leaves absent frames out', () => {
    const pages = records(stream, xlHeaderBytes + 64).filter(({ type }) => type === RecordType.PAGE_DATA);
    expect(pages.map(({ body }) => body.readBigUInt64LE(8))).toEqual([0n, 2n, 0xfeff8n]);
    expect(pages.map(({ body }) => body[16])).toEqual([0, 2, 120]);
    expect(pages.every(({ body }) => body.readUInt32LE(0) === 1 && body.length === 16 + 4096)).toBe(true);
  });

  it('splits long runs into records of 1024 pages', () => {
    const large = { ...state, regions: [{ gfn: 0, page: 0, pages: 2500 }], absent: Buffer.alloc(320) };
    const whole = Buffer.concat([
      ...checkpoint(large, (_, pages) => Buffer.alloc(pages * 4096), [[0, 2500]]),
    ]);
    const counts = records(whole, 0)
      .filter(({ type }) => type === RecordType.PAGE_DATA)
      .map(({ body }) => body.readUInt32LE(0));
    expect(counts).toEqual([1024, 1024, 452]);
  });
});

describe('a checkpoint', () => {
  it('carries only the wanted pages and ends with CHECKPOINT and CHECKPOINT_END', () => {
    const found = records(Buffer.concat([...checkpoint(state, read, [[2, 1]])]), 0);
    expect(found.map(({ type }) => type)).toEqual([0x01, 0x08, 0x09, 0x0a, 0x0e, 0x04]);
    expect(found[0]?.body.readBigUInt64LE(8)).toBe(2n);
  });
});

describe('the stream of a guest with a device model', () => {
  const context = Buffer.alloc(21, 6);
  const hvm = (xenstore = ''): XenState => ({
    ...state,
    model: { context, xenstore: Buffer.from(xenstore) },
  });
  const EMULATOR_XENSTORE_DATA = 0x02;
  const EMULATOR_CONTEXT = 0x03;

  it("has the model's context behind the end of libxc's stream in a save file", () => {
    const found = records(Buffer.concat([...saveFile(hvm(), read)]), xlHeaderBytes + 64).slice(-3);
    expect(found.map(({ type }) => type)).toEqual([RecordType.END, EMULATOR_CONTEXT, 0x00]);
    expect(found[1]?.body.toString('hex')).toBe(`0200000000000000${context.toString('hex')}`);
  });

  it('has it between CHECKPOINT and CHECKPOINT_END in each checkpoint', () => {
    const found = records(Buffer.concat([...checkpoint(hvm(), read, [[2, 1]])]), 0);
    expect(found.map(({ type }) => type)).toEqual([0x01, 0x08, 0x09, 0x0a, 0x0e, EMULATOR_CONTEXT, 0x04]);
  });

  it("has the model's part of xenstore before it, if there is any", () => {
    const pairs = 'physmap/f0000000/size\x00800000\x00';
    const found = records(Buffer.concat([...checkpoint(hvm(pairs), read, [])]), 0).slice(-3);
    expect(found.map(({ type }) => type)).toEqual([EMULATOR_XENSTORE_DATA, EMULATOR_CONTEXT, 0x04]);
    expect(found[0]?.body.toString('latin1')).toBe(`\x02\0\0\0\0\0\0\0${pairs}`);
  });
});

describe("a Xen guest's state", () => {
  it('survives packing with a device model, which no reader of old takes for one without', () => {
    const hvm = { ...state, model: { context: Buffer.alloc(9, 1), xenstore: Buffer.alloc(0) } };
    expect(unpackXenState(packXenState(hvm))).toMatchObject(hvm);
    expect(unpack(packXenState(hvm))).toMatchObject({ version: 2 });
    expect(unpack(packXenState(state))).toMatchObject({ version: 1 });
  });

  it('is refused when its device model is missing or not expected', () => {
    const { model, ...plain } = unpack(
      packXenState({ ...state, model: { context: Buffer.alloc(9), xenstore: Buffer.alloc(0) } }),
    ) as XenState;
    for (const broken of [plain, { ...plain, model: {} }, { ...plain, version: 1, model }])
      expect(() => unpackXenState(pack(broken))).toThrow(/device model is malformed/);
  });

  it('survives packing', () => {
    expect(unpackXenState(packXenState(state))).toMatchObject({ ...state, absent: state.absent });
  });

  it('is refused when anything is missing or cut', () => {
    const packed = packXenState(state);
    for (const broken of [Buffer.alloc(0), packed.subarray(0, packed.length / 2), Buffer.from('nonsense')])
      expect(() => unpackXenState(broken)).toThrow(/not the state of a Xen guest/);
  });
});
