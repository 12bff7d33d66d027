/** The warm Xen standby against a stand-in for `xl migrate-receive` that reads the stream as Xen's receiver does. */

import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { XenTarget } from '../../backup/hypervisor/xen.ts';
import { FIRST_GFN, PAGES, xenState as state, TestImage } from '../support/xen-image.ts';

const WAIT = { timeout: 60_000, interval: 20 };
const spec = { name: 'guest', hypervisor: 'xen' as const, memoryBytes: PAGES * 4096, cpus: 1 };

/** Domains are files; the receiver's is "guest--incoming" until the word to go on, and "guest" afterwards. */
const STAND_IN = `#!/bin/sh
cd "$(dirname "$0")"
case $1 in
  domid) [ -e "$2" ] && echo 5 || { echo "Can't get domid of domain name '$2', maybe this domain does not exist." >&2; exit 1; } ;;
  destroy) rm "$2" ;;
  restore) cat "$2" > restored; touch guest ;;
  migrate-receive) exec "${process.execPath}" receiver.mjs "$@" ;;
esac
`;

/** Keeps what each whole checkpoint brought; dies at once while "refuse" is there. */
const RECEIVER = `
import { existsSync, renameSync, writeFileSync } from 'node:fs';
if (existsSync('refuse')) process.exit(1);
let held = Buffer.alloc(0);
const memory = {};
let waiting = [];
let context = 0;
let whole = 0;
const keep = () => writeFileSync('received.json', JSON.stringify({ memory, context, whole }));
const take = (type, body) => {
  if (type === 1) for (let i = 0, n = body.readUInt32LE(0); i < n; i++)
    waiting.push([Number(body.readBigUInt64LE(8 + 8 * i)), body[8 + 8 * n + 4096 * i]]);
  if (type === 9) context = body[0];
  if (type === 0x0e) { for (const [gfn, byte] of waiting) memory[gfn] = byte; waiting = []; whole++; keep(); }
  if (type === 0) { renameSync('guest--incoming', 'guest'); keep(); process.exit(0); }
};
let heads = true;
for await (const piece of process.stdin) {
  held = Buffer.concat([held, piece]);
  if (heads) {
    if (held.length < 52 || held.length < 48 + held.readUInt32LE(44) + 64) continue;
    held = held.subarray(48 + held.readUInt32LE(44) + 64);
    heads = false;
    writeFileSync('guest--incoming', '');
  }
  while (held.length >= 8) {
    const length = held.readUInt32LE(4);
    const all = 8 + ((length + 7) & ~7);
    if (held.length < all) break;
    take(held.readUInt32LE(0), held.subarray(8, 8 + length));
    held = held.subarray(all);
  }
}
writeFileSync('ended', ''); // never: the receiver holds its own input open
`;

let dir = '';
let image: TestImage;
let target: XenTarget;
const path = process.env.PATH;
const file = (name: string): string => join(dir, name);
const files = () => ({ imagePath: file('image'), runDir: dir, image });
const received = (): { memory: Record<string, number>; context: number; whole: number } =>
  JSON.parse(readFileSync(file('received.json'), 'utf8'));

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'xen-warm-'));
  writeFileSync(file('xl'), STAND_IN);
  chmodSync(file('xl'), 0o755);
  writeFileSync(file('receiver.mjs'), RECEIVER);
  process.env.PATH = `${dir}:${path}`;
  image = new TestImage();
  target = new XenTarget(spec);
});

afterEach(async () => {
  await target.stop();
  process.env.PATH = path;
  rmSync(dir, { recursive: true, force: true });
});

async function warmAt(epoch: number): Promise<void> {
  await vi.waitFor(() => expect(received().context).toBe(epoch), WAIT);
}

describe('a warm Xen standby', () => {
  it('holds the newest epoch of the image, and goes on from it with one record more', async () => {
    await target.prepare(spec, files());
    await image.apply(0, 1, 2, 63);
    await image.apply(1);
    await warmAt(2);
    await image.apply(2, 3);
    writeFileSync(file('state'), state(3));
    await target.start(file('state'));
    const { memory, context } = received();
    expect(context).toBe(3);
    expect([0, 1, 2, 3, 4, 63].map((page) => memory[FIRST_GFN + page])).toEqual([1, 2, 3, 3, 0, 1]);
    expect(existsSync(file('guest'))).toBe(true);
    expect(existsSync(file('restored'))).toBe(false);
  });

  it('waits for the first epoch of an image that is still being copied', async () => {
    await target.prepare(spec, files());
    expect(await target.alive()).toBe(true);
    await image.apply(5);
    await warmAt(1);
  });

  it('does not run when its agent dies: whoever comes next gives it up unheard', async () => {
    await target.prepare(spec, files());
    await image.apply(1);
    await warmAt(1);
    await target.release(); // all the agent's ends are closed, as the kernel does after kill -9
    expect(await new XenTarget(spec).takeUp(spec, files())).toBe('waiting');
    expect(existsSync(file('guest'))).toBe(false);
    expect(existsSync(file('guest--incoming'))).toBe(false);
    expect(existsSync(file('ended'))).toBe(false);
  });

  it('is a cold one where the receiver does not come up', async () => {
    writeFileSync(file('refuse'), '');
    await target.prepare(spec, files());
    await vi.waitFor(async () => expect(await target.alive()).toBe(false), WAIT);
    await image.apply(1);
    writeFileSync(file('image'), Buffer.alloc(PAGES * 4096, 1));
    writeFileSync(file('state'), state(1));
    await target.start(file('state'));
    expect(existsSync(file('restored'))).toBe(true);
  });

  it('is ended with its domain by stop()', async () => {
    await target.prepare(spec, files());
    await image.apply(1);
    await warmAt(1);
    await target.stop();
    expect(existsSync(file('guest--incoming'))).toBe(false);
    expect(existsSync(file('guest'))).toBe(false);
  });
});
