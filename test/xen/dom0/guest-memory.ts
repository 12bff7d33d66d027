/** The memory of the guest under test: asked to give some back or to take it again, and compared with a shadow copy. */

import { execFile } from 'node:child_process';
import type { Memory } from '../../../native/index.ts';
import { xl } from '../../../shared/hypervisor/xl.ts';
import { PAGE_BYTES } from '../../../shared/vm.ts';

const BATCH_PAGES = 256;

/** Asked of the guest, which takes its time over it; epochs go on meanwhile. */
export function balloon(name: string, toMiB: number): void {
  execFile('xl', ['mem-set', name, String(toMiB)], (error) => {
    if (error !== null) console.error(`xl mem-set ${toMiB}: ${error.message}`);
  });
}

/** What Xen holds for the guest. */
export async function memoryMiB(name: string): Promise<number> {
  return Number((await xl('list', name)).trim().split('\n').at(-1)?.split(/\s+/)[2]);
}

/** Pages in which the suspended guest differs from the shadow copy. */
export function differingPages(guest: Memory, shadow: Memory): number {
  let found = 0;
  for (let at = 0; at < guest.sizeBytes; at += BATCH_PAGES * PAGE_BYTES) {
    const length = Math.min(BATCH_PAGES * PAGE_BYTES, guest.sizeBytes - at);
    const [now, was] = [guest.read(at, length), shadow.read(at, length)];
    if (now.equals(was)) continue;
    for (let p = 0; p < length; p += PAGE_BYTES)
      if (!now.subarray(p, p + PAGE_BYTES).equals(was.subarray(p, p + PAGE_BYTES))) found++;
  }
  return found;
}
