/** `romulus checkpoint export`: a standby's newest epoch as a file for the hypervisor's own tools, while epochs go on being applied. */

import { type FileHandle, open, rm } from 'node:fs/promises';
import { asRomulusError, RomulusError } from '../shared/errors.ts';
import { unpackXenState } from '../shared/hypervisor/xen-state.ts';
import { pageRecords, saveEnd, streamStart } from '../shared/hypervisor/xen-stream.ts';
import type { ExportResult } from '../shared/status.ts';
import type { FollowedImage } from './image/followed-image.ts';
import { copier, ImageCopy } from './image/image-copy.ts';

/**
 * Writes a save file that plain `xl restore` takes, mode 0600: guest memory is a secret. Throws IMAGE_NOT_PROMOTABLE
 * before the first epoch, IMAGE_FULL or IMAGE_IO for the file, which is then removed; a file that is there is left alone.
 */
export async function exportXen(
  image: FollowedImage,
  path: string,
): Promise<Pick<ExportResult, 'epoch' | 'sizeBytes'>> {
  await image.atEpoch(async () => {});
  const file = await open(path, 'wx', 0o600).catch((cause) => {
    throw unwritable(path, cause);
  });
  const copy = new ImageCopy(image);
  try {
    return await writeAll(copy, file);
  } catch (thrown) {
    await rm(path, { force: true });
    throw (thrown as NodeJS.ErrnoException).syscall === undefined
      ? asRomulusError(thrown)
      : unwritable(path, thrown);
  } finally {
    copy.end();
    await file.close();
  }
}

async function writeAll(copy: ImageCopy, file: FileHandle): Promise<{ epoch: number; sizeBytes: number }> {
  let pieces: Buffer[] = [];
  let started = false;
  let epoch = 0;
  let sizeBytes = 0;
  await copy.run(
    (held, runs, last) => {
      const state = unpackXenState(held.state);
      if (!started) pieces.push(...streamStart(state));
      started = true;
      pieces.push(...pageRecords(state, copier(held), runs));
      if (last) pieces.push(...saveEnd(state));
      epoch = held.epoch;
    },
    async () => {
      for (const piece of pieces) sizeBytes += (await file.write(piece)).bytesWritten;
      pieces = [];
    },
  );
  await file.sync();
  return { epoch, sizeBytes };
}

function unwritable(path: string, cause: unknown): RomulusError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const full = code === 'ENOSPC' || code === 'EDQUOT';
  return new RomulusError(full ? 'IMAGE_FULL' : 'IMAGE_IO', `cannot write ${path}: ${message}`, {
    hint: code === 'EEXIST' ? `remove it first: rm ${path}` : 'choose a folder with room: df -h',
    cause,
  });
}
