/** A second, slow reading of native/engine/FORMAT.md and digest.h, from the text and not from the C++, to hold the engine against. */

import { PAGE_BYTES } from '../../shared/vm.ts';

const MASK64 = (1n << 64n) - 1n;
const LANE_KEYS = [
  0xb8fe6c3923a44bben,
  0x7c01812cf721ad1cn,
  0xded46de9839097dbn,
  0x7240a4a4b7b3671fn,
  0xcb79e64eccc0e578n,
  0x825ad07dccff7221n,
  0xb8084674f743248en,
  0xe03590e6813a264cn,
];

function mix(x: bigint): bigint {
  return ((x & 0xffffffffn) * (x >> 32n) + (((x << 32n) | (x >> 32n)) & MASK64)) & MASK64;
}

function lineKey(line: bigint): bigint {
  let z = ((line + 1n) * 0x9e3779b97f4a7c15n) & MASK64;
  z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & MASK64;
  return z ^ (z >> 31n);
}

/** Digest of a whole image. */
export function digestOracle(image: Buffer): bigint {
  let digest = 0n;
  for (let at = 0; at < image.length; at += 8) {
    const word = image.readBigUInt64LE(at);
    if (word === 0n) continue;
    const key = lineKey(BigInt(Math.floor(at / 64))) ^ (LANE_KEYS[(at / 8) % 8] ?? 0n);
    digest += mix(word ^ key) - mix(key);
  }
  return digest & MASK64;
}

function varint(value: bigint): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return bytes;
}

/** The payload that takes `before` to `after` for the given pages, ascending; undefined if none of them changed. */
export function encodeOracle(before: Buffer, after: Buffer, pages: number[]): Buffer | undefined {
  const data: Buffer[] = [];
  const head: number[] = [];
  let next = 0;
  let named = 0;
  for (const page of pages) {
    const old = before.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    const now = after.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    if (old.equals(now)) continue;
    let lines = 0n;
    const masks: number[] = [];
    const words: Buffer[] = [];
    for (let line = 0; line < 64; line++) {
      let mask = 0;
      for (let word = 0; word < 8; word++) {
        const at = line * 64 + word * 8;
        if (old.readBigUInt64LE(at) === now.readBigUInt64LE(at)) continue;
        mask |= 1 << word;
        words.push(now.subarray(at, at + 8));
      }
      if (mask === 0) continue;
      lines |= 1n << BigInt(line);
      masks.push(mask);
    }
    const zero = now.every((byte) => byte === 0);
    const whole = 8 + masks.length + words.length * 8 >= PAGE_BYTES;
    const form = zero ? 1n : whole ? 2n : 0n;
    head.push(...varint((BigInt(page - next) << 2n) | form));
    if (form === 0n) {
      const lineMask = Buffer.alloc(8);
      lineMask.writeBigUInt64LE(lines);
      head.push(...lineMask, ...masks);
      data.push(...words);
    } else if (form === 2n) {
      data.push(now);
    }
    next = page + 1;
    named++;
  }
  if (named === 0) return undefined;
  const stream = Buffer.concat(data);
  const header = Buffer.alloc(16);
  header.write('RDP1', 'latin1');
  header.writeUInt32LE(named, 4);
  header.writeUInt32LE(stream.length, 8);
  header.writeUInt32LE(head.length, 12);
  return Buffer.concat([header, stream, Buffer.from(head)]);
}

/** CRC-32C, bit by bit. */
export function crcOracle(data: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of data) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}
