/** An exported checkpoint is one epoch, whole, whatever is applied meanwhile. */

import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { exportXen } from '../../backup/export.ts';
import { RecordType } from '../../shared/hypervisor/xen-records.ts';
import { FIRST_GFN, PAGES, TestImage } from '../support/xen-image.ts';

let dir = '';
let image: TestImage;
const file = (): string => join(dir, 'guest.save');

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'xen-export-'));
  image = new TestImage();
});
afterEach(() => rmSync(dir, { recursive: true }));

/** First byte of each guest frame, and of the CPU context, as a reader of the file ends up with them. */
function restored(): { memory: number[]; context: number } {
  const stream = readFileSync(file());
  const memory: number[] = [];
  let context = -1;
  let at = 48 + stream.readUInt32LE(44) + 64; // xl's head and configuration, libxl's and libxc's heads
  for (let type = -1; type !== RecordType.END; ) {
    type = stream.readUInt32LE(at);
    const length = stream.readUInt32LE(at + 4);
    const body = stream.subarray(at + 8, at + 8 + length);
    at += 8 + ((length + 7) & ~7);
    if (type === RecordType.HVM_CONTEXT) context = body[0] as number;
    if (type !== RecordType.PAGE_DATA) continue;
    const count = body.readUInt32LE(0);
    for (let i = 0; i < count; i++)
      memory[Number(body.readBigUInt64LE(8 + 8 * i)) - FIRST_GFN] = body[8 + 8 * count + 4096 * i] as number;
  }
  return { memory, context };
}

describe('an exported checkpoint', () => {
  it('is the image at the epoch it says, for its owner only', async () => {
    await image.apply(0, 1, 2);
    await image.apply(2, 63);
    const { epoch, sizeBytes } = await exportXen(image, file());
    expect(epoch).toBe(2);
    const { memory, context } = restored();
    expect(context).toBe(2);
    expect([0, 1, 2, 3, 63].map((page) => memory[page])).toEqual([1, 1, 2, 0, 2]);
    expect(statSync(file())).toMatchObject({ size: sizeBytes });
    expect(statSync(file()).mode & 0o777).toBe(0o600);
  });

  it('is of one epoch though others are applied while it is written', async () => {
    await image.apply(...Array.from({ length: PAGES }, (_, page) => page));
    const exporting = exportXen(image, file());
    const applying = (async () => {
      for (let n = 0; n < 20; n++) await image.apply(n, n + 20, 63);
    })();
    const { epoch } = await exporting;
    await applying;
    const { memory, context } = restored();
    expect(context).toBe(epoch);
    // Epoch e wrote pages e-2, e+18 and 63: what the file holds of them is no older and no newer than its epoch.
    const expected = (page: number): number =>
      Math.max(
        1,
        ...[page + 2, page - 18, page === 63 ? epoch : 0].filter((e) => e <= epoch && e >= 2 && e <= 21),
      );
    expect(memory).toEqual(Array.from({ length: PAGES }, (_, page) => expected(page)));
  });

  it('is refused before the first epoch, and where a file is in the way, which stays', async () => {
    await expect(exportXen(image, file())).rejects.toThrow(/no epoch/);
    await image.apply(1);
    writeFileSync(file(), 'mine');
    await expect(exportXen(image, file())).rejects.toMatchObject({
      code: 'IMAGE_IO',
      hint: `remove it first: rm ${file()}`,
    });
    expect(readFileSync(file(), 'utf8')).toBe('mine');
  });
});
