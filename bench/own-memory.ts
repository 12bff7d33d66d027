/** What an agent's process holds for itself: private memory without guest mappings and the shadow copy. */

import { readFileSync } from 'node:fs';

/**
 * Bytes of private anonymous memory of a process, leaving out every mapping of at least `shadowBytes`, which is how large
 * guest memory and shadow copy are. From /proc/PID/smaps.
 */
export function ownMemoryBytes(pid: number, shadowBytes: number): number {
  let mappingBytes = 0;
  let total = 0;
  for (const line of readFileSync(`/proc/${pid}/smaps`, 'utf8').split('\n')) {
    const size = /^Size: +(\d+) kB/.exec(line);
    if (size) mappingBytes = Number(size[1]) * 1024;
    const anonymous = /^Anonymous: +(\d+) kB/.exec(line);
    if (anonymous && mappingBytes < shadowBytes) total += Number(anonymous[1]) * 1024;
  }
  return total;
}
