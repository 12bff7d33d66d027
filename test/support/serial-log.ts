/** Reads a guest's serial log as it grows. */

import { readFileSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';

/** Lines so far; an empty list when there is no file yet. The last one may be cut off while it is being written. */
export function serialLines(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split(/\r?\n/).slice(0, -1);
  } catch {
    return [];
  }
}

/** Numbers of the heartbeat's `tick` lines. */
export function ticksOf(lines: string[]): number[] {
  return lines.flatMap((line) => /^tick (\d+) /.exec(line)?.[1] ?? []).map(Number);
}

/** Resolves once the log satisfies `accept`; woken by the file system, not by time. */
export function waitForLog(
  path: string,
  accept: (lines: string[]) => boolean,
  timeoutMs = 60_000,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const watcher = watch(dirname(path), (_, name) => {
      if (name === null || name === basename(path)) look();
    });
    const timer = setTimeout(() => {
      watcher.close();
      reject(new Error(`not seen in ${path}; its end: ${serialLines(path).slice(-5).join(' | ')}`));
    }, timeoutMs);
    const look = () => {
      if (!accept(serialLines(path))) return;
      clearTimeout(timer);
      watcher.close();
      resolve();
    };
    look();
  });
}

/** Waits for the given number of further ticks, all of them sound. */
export async function waitForTicks(path: string, count: number): Promise<void> {
  const before = ticksOf(serialLines(path)).length;
  await waitForLog(path, (lines) => ticksOf(lines).length >= before + count || lines.some(isFault));
}

export function isFault(line: string): boolean {
  return line.includes('FAULT');
}
