/** Runs in dom0: reads a stream of checkpoints as `xl remus` sends it, and prints pages and bytes of each one after the first. */

import { closeSync, openSync, readSync } from 'node:fs';

const PAGE_DATA = 1;
const CHECKPOINT = 14;
/** xl's head up to its configuration, whose length is its last word; libxl's head and first record; libxc's two heads. */
const XL_HEAD_BYTES = 48;
const OTHER_HEADS_BYTES = 16 + 8 + 24 + 16;

const file = openSync(process.argv[2] as string, 'r');
const words = (at: number): [number, number] | undefined => {
  const buffer = Buffer.alloc(8);
  return readSync(file, buffer, 0, 8, at) === 8
    ? [buffer.readUInt32LE(0), buffer.readUInt32LE(4)]
    : undefined;
};

const checkpoints: { pages: number; bytes: number }[] = [];
let [pages, bytes] = [0, 0];
let at = XL_HEAD_BYTES + (words(XL_HEAD_BYTES - 8)?.[1] ?? 0) + OTHER_HEADS_BYTES;
for (let head = words(at); head !== undefined; head = words(at)) {
  const [type, length] = head;
  const recordBytes = 8 + ((length + 7) & ~7);
  if (type === PAGE_DATA) pages += words(at + 8)?.[0] ?? 0;
  bytes += recordBytes;
  at += recordBytes;
  if (type !== CHECKPOINT) continue;
  checkpoints.push({ pages, bytes });
  [pages, bytes] = [0, 0];
}
closeSync(file);
console.log(JSON.stringify(checkpoints.slice(1)));
