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

type Grain = 'words' | 'bytes';

/** Bit i set where `wanted(i)`. */
function maskOf(count: number, wanted: (i: number) => boolean): number {
  let mask = 0;
  for (let i = 0; i < count; i++) if (wanted(i)) mask |= 1 << i;
  return mask;
}

const named = <T>(items: T[], mask: number): T[] => items.filter((_item, i) => (mask >> i) & 1);

/** One way to write a changed line. */
interface LineForm {
  kind: number;
  masks: number[];
  data: number[];
}

/** The four kinds of a changed line, each spelt out; the fewest bytes win, the lowest kind among equals. */
function lineForm(old: Buffer, now: Buffer, line: number, grain: Grain): LineForm | undefined {
  const start = line * 64;
  const word = (page: Buffer, j: number) =>
    start + j * 8 < 0 ? Buffer.alloc(8) : page.subarray(start + j * 8, start + j * 8 + 8);
  const words = maskOf(8, (j) => !word(old, j).equals(word(now, j)));
  if (words === 0) return undefined;
  const repeats = words & maskOf(8, (j) => word(now, j).equals(word(now, j - 1)));
  const all = [0, 1, 2, 3, 4, 5, 6, 7];
  const forms = [0, 1, 2, 3].map((kind): LineForm => {
    const kept = named(all, kind & 1 ? words & ~repeats : words);
    const byteMask = (j: number) => {
      if (kind < 2) return 0xff;
      if (kind === 2) return maskOf(8, (b) => word(old, j)[b] !== word(now, j)[b]);
      return maskOf(8, (b) => word(now, j)[b] !== 0);
    };
    return {
      kind,
      masks: [words, ...(kind & 1 ? [repeats] : []), ...(kind & 2 ? kept.map(byteMask) : [])],
      data: kept.flatMap((j) => named([...word(now, j)], byteMask(j))),
    };
  });
  const size = (form: LineForm) => form.masks.length + form.data.length;
  return forms
    .slice(0, grain === 'words' ? 2 : 4)
    .reduce((best, form) => (size(form) < size(best) ? form : best));
}

/** The payload of pages in ascending order as one thread writes it; undefined if none of them changed. */
export function encodeOracle(
  before: Buffer,
  after: Buffer,
  pages: number[],
  grain: Grain,
): Buffer | undefined {
  const data: Buffer[] = [];
  const masks: number[] = [];
  const head: number[] = [];
  let next = 0;
  let changed = 0;
  for (const page of pages) {
    const old = before.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    const now = after.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES);
    if (old.equals(now)) continue;
    const lines = Array.from({ length: 64 }, (_, line) => lineForm(old, now, line, grain));
    const written = lines.filter((line) => line !== undefined);
    const groups = [0, 1, 2, 3, 4, 5, 6, 7].map((g) => maskOf(8, (i) => lines[8 * g + i] !== undefined));
    const kinds = new Array<number>(Math.ceil(written.length / 4)).fill(0);
    written.forEach(({ kind }, i) => {
      kinds[i >> 2] = (kinds[i >> 2] ?? 0) | (kind << (2 * (i & 3)));
    });
    const body = written.reduce((sum, line) => sum + line.masks.length + line.data.length, 0);
    const zero = now.every((byte) => byte === 0);
    const whole = 9 + kinds.length + body >= PAGE_BYTES;
    const form = zero ? 1n : whole ? 2n : 0n;
    head.push(...varint((BigInt(page - next) << 2n) | form));
    if (form === 0n) {
      head.push(
        maskOf(8, (g) => groups[g] !== 0),
        ...groups.filter((lines) => lines !== 0),
        ...kinds,
      );
      for (const line of written) {
        masks.push(...line.masks);
        data.push(Buffer.from(line.data));
      }
    } else if (form === 2n) {
      data.push(now);
    }
    next = page + 1;
    changed++;
  }
  if (changed === 0) return undefined;
  const stream = Buffer.concat(data);
  const header = Buffer.alloc(20);
  header.write('RDP2', 'latin1');
  header.writeUInt32LE(changed, 4);
  header.writeUInt32LE(stream.length, 8);
  header.writeUInt32LE(masks.length, 12);
  header.writeUInt32LE(head.length, 16);
  return Buffer.concat([header, stream, Buffer.from(masks), Buffer.from(head)]);
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
