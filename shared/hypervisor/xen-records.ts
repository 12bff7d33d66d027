/** The bytes of Xen's migration stream (libxc format 3 within libxl format 2, docs/specs of Xen 4.17): heads and records, no input or output. */

import { PAGE_BYTES } from '../vm.ts';

/** Record types of libxc's stream. */
export const RecordType = {
  END: 0x00,
  PAGE_DATA: 0x01,
  X86_TSC_INFO: 0x08,
  HVM_CONTEXT: 0x09,
  HVM_PARAMS: 0x0a,
  CHECKPOINT: 0x0e,
  STATIC_DATA_END: 0x10,
  X86_CPUID_POLICY: 0x11,
  X86_MSR_POLICY: 0x12,
} as const;

/** Record types of the libxl stream around it. */
export const OuterType = {
  END: 0x00,
  LIBXC_CONTEXT: 0x01,
  EMULATOR_XENSTORE_DATA: 0x02,
  EMULATOR_CONTEXT: 0x03,
  CHECKPOINT_END: 0x04,
} as const;

/** QEMU as every Xen of today starts it, in distinction to the fork of old. */
const QEMU_UPSTREAM = 2;

/** Pages in one PAGE_DATA record, as libxc sends them; Xen refuses records over 128 MiB. */
export const PAGES_PER_RECORD = 1024;

/** u32 type, u32 body length, body, zeros up to a multiple of 8. */
export function record(type: number, ...body: Buffer[]): Buffer[] {
  const length = body.reduce((sum, part) => sum + part.length, 0);
  const head = Buffer.alloc(8);
  head.writeUInt32LE(type, 0);
  head.writeUInt32LE(length, 4);
  return [head, ...body, Buffer.alloc(-length & 7)];
}

/** A record of a device model: u32 which kind, u32 which of them (there is one), then what it is about. */
export function emulatorRecord(type: number, body: Buffer): Buffer[] {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(QEMU_UPSTREAM, 0);
  return record(type, head, body);
}

/** What `xl save` writes first: xl's own head and the domain's JSON configuration. */
export function xlHeader(config: string): Buffer {
  const json = Buffer.from(`${config}\0`);
  const head = Buffer.alloc(52);
  head.write('Xen saved domain, xl format\n \0 \r', 0, 'latin1');
  head.writeUInt32LE(0x01020304, 32);
  head.writeUInt32LE(3, 36); // JSON configuration, stream version 2
  head.writeUInt32LE(0, 40);
  head.writeUInt32LE(4 + json.length, 44);
  head.writeUInt32LE(json.length, 48);
  return Buffer.concat([head, json]);
}

/** libxl's stream head and the record after which libxc's stream begins. */
export function libxlHeader(): Buffer {
  const head = Buffer.alloc(16);
  head.write('LibxlFmt', 0, 'latin1');
  head.writeUInt32BE(2, 8);
  return Buffer.concat([head, ...record(OuterType.LIBXC_CONTEXT)]);
}

/** Image and domain head of libxc's stream, for an HVM or PVH guest of Xen `version` ("4.17"). */
export function libxcHeader(version: string): Buffer {
  const [major, minor] = version.split('.').map(Number) as [number, number];
  const head = Buffer.alloc(40);
  head.fill(0xff, 0, 8);
  head.write('XENF', 8, 'latin1');
  head.writeUInt32BE(3, 12);
  head.writeUInt32LE(2, 24); // x86 HVM, which PVH is to the stream
  head.writeUInt16LE(12, 28); // page shift
  head.writeUInt32LE(major, 32);
  head.writeUInt32LE(minor, 36);
  return head;
}

/** Consecutive frames of normal RAM from `gfn` on. */
export function pageData(gfn: number, contents: Buffer): Buffer[] {
  const pages = contents.length / PAGE_BYTES;
  const head = Buffer.alloc(8 + pages * 8);
  head.writeUInt32LE(pages, 0);
  for (let i = 0; i < pages; i++) head.writeBigUInt64LE(BigInt(gfn + i), 8 + i * 8);
  return record(RecordType.PAGE_DATA, head, contents);
}

/** `pairs`: u64 index and value of each parameter. */
export function hvmParams(pairs: Buffer): Buffer[] {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(pairs.length / 16, 0);
  return record(RecordType.HVM_PARAMS, head, pairs);
}
