/** Damages bytes as networks, disks and attackers do: flips, cuts, repeats, numbers at the edges of what fits. */

const EDGES = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0xffffffff];

/** A damaged copy; `next` gives numbers from 0 up to 1. */
export function mutate(data: Buffer, next: () => number): Buffer {
  let bytes: Buffer = Buffer.from(data);
  for (let steps = 1 + Math.floor(next() * 4); steps > 0; steps--) bytes = step(bytes, next);
  return bytes;
}

function step(bytes: Buffer, next: () => number): Buffer {
  const below = (bound: number) => Math.floor(next() * bound);
  if (bytes.length === 0) return Buffer.from([below(256)]);
  const at = below(bytes.length);
  switch (below(6)) {
    case 0:
      bytes[at] = (bytes[at] ?? 0) ^ (1 << below(8));
      return bytes;
    case 1:
      bytes[at] = below(256);
      return bytes;
    case 2:
      return bytes.subarray(0, at);
    case 3: {
      const end = Math.min(bytes.length, at + below(64));
      return Buffer.concat([bytes.subarray(0, end), bytes.subarray(at, end), bytes.subarray(end)]);
    }
    case 4: {
      const edge = EDGES[below(EDGES.length)] ?? 0;
      if (at + 4 <= bytes.length) bytes.writeUInt32LE(edge, at);
      else bytes[at] = edge & 0xff;
      return bytes;
    }
    default:
      return Buffer.concat([
        bytes.subarray(0, at),
        bytes.subarray(Math.min(bytes.length, at + 1 + below(16))),
      ]);
  }
}
