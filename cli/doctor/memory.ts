/** Checks of memory: a file system in memory for the standby images, and room for them. */

import { existsSync, readFileSync, statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { formatBytes } from '../../shared/config.ts';
import { type Finding, finding } from './finding.ts';

const MiB = 2 ** 20;
/** Image and shadow copy of a small guest; less is of no use to anybody. */
const MIN_IMAGE_BYTES = 512 * MiB;

/** statfs f_type of file systems that live in memory. */
const memoryFileSystems = new Map([
  [0x01021994, 'tmpfs'],
  [0x958458f6, 'hugetlbfs'],
]);

/** `neededBytes`: memory of all guests whose images may come to lie there. */
export function checkImageDir(imageDir: string, neededBytes: number): Finding {
  let place = imageDir;
  while (!existsSync(place) && place !== dirname(place)) place = dirname(place);
  const { type, bavail, bsize } = statfsSync(place);
  const freeBytes = bavail * bsize;
  const wantedBytes = Math.max(neededBytes, MIN_IMAGE_BYTES);
  const kind = memoryFileSystems.get(type);
  const enough = freeBytes >= wantedBytes;
  return finding('image-space', `memory for images in ${imageDir}`, enough && kind ? 'ok' : 'missing', {
    found: `${formatBytes(freeBytes)} free, ${kind ?? 'not in memory'}`,
    needed: `${formatBytes(wantedBytes)} of tmpfs or hugetlbfs`,
    fix: moreSpace(kind, imageDir, place, wantedBytes, bsize),
  });
}

/** On hugetlbfs, blocks are huge pages, and it is their number that is short. */
function moreSpace(
  kind: string | undefined,
  imageDir: string,
  place: string,
  wantedBytes: number,
  blockBytes: number,
): string {
  if (kind === 'hugetlbfs') return `sysctl -w vm.nr_hugepages=${Math.ceil((wantedBytes * 2) / blockBytes)}`;
  if (kind === 'tmpfs') {
    const size = Math.ceil((wantedBytes * 2) / MiB);
    return `mount -o remount,size=${size}M $(findmnt -n -o TARGET --target ${place})`;
  }
  return `mkdir -p ${imageDir} && mount -t tmpfs -o size=${Math.ceil(wantedBytes / MiB)}M romulus ${imageDir}`;
}

/** The size of a tmpfs is only a promise: what is written there takes memory that must be free. */
export function checkFreeMemory(neededBytes: number): Finding {
  const availableKiB = /^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'))?.[1] ?? '0';
  const availableBytes = Number(availableKiB) * 1024;
  return finding('free-memory', 'free memory', availableBytes >= neededBytes ? 'ok' : 'absent', {
    found: `${formatBytes(availableBytes)} available`,
    needed: `${formatBytes(neededBytes)} for a copy of every guest of the config`,
    fix: 'see what takes it: ps -eo rss,args --sort=-rss | head',
  });
}
