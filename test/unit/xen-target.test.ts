/** The cold Xen target against a stand-in for `xl` that keeps what it is given to restore. */

import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { XenTarget } from '../../backup/hypervisor/xen.ts';
import { packXenState, type XenState } from '../../shared/hypervisor/xen-state.ts';
import { saveFile } from '../../shared/hypervisor/xen-stream.ts';

const PAGES = 64;
const spec = { name: 'guest', hypervisor: 'xen' as const, memoryBytes: PAGES * 4096, cpus: 1 };
const geometry = { arch: 'x86_64', ramBytes: PAGES * 4096, cpus: 1, hypervisor: 'xen 4.17' };
const state: XenState = {
  xenVersion: '4.17',
  config: '{}',
  regions: [{ gfn: 0, page: 0, pages: PAGES }],
  absent: Buffer.alloc(8),
  leaves: Buffer.alloc(24),
  msrs: Buffer.alloc(16),
  tsc: Buffer.alloc(24),
  context: Buffer.alloc(64, 7),
  params: Buffer.alloc(16),
};

/** The guest runs while the file "running" is there, its standby stands while "incoming" is; "refuse" makes the next restore fail. */
const STAND_IN = `#!/bin/sh
cd "$(dirname "$0")"
case $2 in *--incoming) domain=incoming ;; *) domain=running ;; esac
case $1 in
  domid) [ -e $domain ] && echo 5 || { echo "Can't get domid of domain name '$2', maybe this domain does not exist." >&2; exit 1; } ;;
  info) printf 'xen_major              : 4\\nxen_minor              : 17\\nfree_memory            : %s\\n' "$(cat free)" ;;
  restore) [ -e refuse ] && { echo 'cannot restore' >&2; exit 3; }; cat "$2" > restored; touch running ;;
  destroy) rm $domain ;;
esac
`;

let dir = '';
let target: XenTarget;
const file = (name: string): string => join(dir, name);
const files = () => ({ imagePath: file('image'), runDir: dir });
const path = process.env.PATH;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'xen-target-'));
  writeFileSync(file('xl'), STAND_IN);
  chmodSync(file('xl'), 0o755);
  writeFileSync(file('free'), '1000');
  writeFileSync(file('image'), Buffer.alloc(PAGES * 4096, 9));
  writeFileSync(file('state'), packXenState(state));
  process.env.PATH = `${dir}:${path}`;
  target = new XenTarget(spec);
  await target.prepare(spec, files());
});

afterEach(() => {
  process.env.PATH = path;
  rmSync(dir, { recursive: true, force: true });
});

describe('a cold Xen standby', () => {
  it('gives xl restore the whole save file', async () => {
    await target.start(file('state'));
    const expected = Buffer.concat([...saveFile(state, (_, pages) => Buffer.alloc(pages * 4096, 9))]);
    expect(readFileSync(file('restored')).equals(expected)).toBe(true);
    expect(await target.takeUp(spec, files())).toBe('running');
  });

  it('lives before its start, and after it as long as the domain does', async () => {
    expect(await target.alive()).toBe(true);
    await target.start(file('state'));
    rmSync(file('running'));
    expect(await target.alive()).toBe(false);
  });

  it('is ended by stop(), which leaves a domain it did not start alone', async () => {
    await target.start(file('state'));
    await target.stop();
    expect(existsSync(file('running'))).toBe(false);
    writeFileSync(file('running'), '');
    await target.stop();
    expect(existsSync(file('running'))).toBe(true);
  });

  it("fails with xl's own words when xl refuses", async () => {
    writeFileSync(file('refuse'), '');
    await expect(target.start(file('state'))).rejects.toMatchObject({
      code: 'HV_START',
      message: expect.stringContaining('cannot restore'),
    });
  });

  it('fails when the image is shorter than the guest, and starts nothing', async () => {
    truncateSync(file('image'), 4096);
    await expect(target.start(file('state'))).rejects.toMatchObject({ code: 'IMAGE_CORRUPT' });
  });
});

describe('a host that could not run the guest', () => {
  it('is refused when its Xen is of another release', async () => {
    await expect(target.check(spec, { ...geometry, hypervisor: 'xen 4.18' })).rejects.toMatchObject({
      code: 'HV_UNSUPPORTED',
    });
  });

  it('is refused when it has too little memory', async () => {
    writeFileSync(file('free'), '10');
    await expect(target.check(spec, geometry)).rejects.toMatchObject({ code: 'HV_UNSUPPORTED' });
  });

  it("is refused when it has not the device model that the guest's devices are of", async () => {
    await expect(target.check(spec, { ...geometry, deviceModel: 'qemu 0.1.0/xen' })).rejects.toMatchObject({
      code: 'HV_UNSUPPORTED',
      hint: expect.stringContaining('qemu-system-xen'),
    });
  });

  it('is taken again when it is its own standby that has the memory', async () => {
    writeFileSync(file('free'), '10');
    writeFileSync(file('incoming'), '');
    await expect(target.check(spec, geometry)).resolves.toBeUndefined();
  });

  it('is refused while it runs a domain of that name', async () => {
    writeFileSync(file('running'), '');
    await expect(target.check(spec, geometry)).rejects.toMatchObject({ code: 'VM_BUSY' });
  });

  it('is taken otherwise', async () => {
    await expect(target.check(spec, geometry)).resolves.toBeUndefined();
  });
});
