/** The demo guest's own word about itself, read from its serial log. */

import { readFileSync } from 'node:fs';

export interface Heartbeats {
  /** Tick numbers in the order they were written. */
  ticks: number[];
  /** Complete passes over the structure, as of the last tick. */
  checks: number;
  /** What the guest found wrong, word for word. */
  faults: string[];
}

/** A log that is not there yet reads as empty. */
export function readHeartbeats(path: string): Heartbeats {
  let text = '';
  try {
    text = readFileSync(path, 'utf8');
  } catch {
    // no guest has written yet
  }
  return heartbeatsIn(text);
}

/** A line still being written is left out. */
export function heartbeatsIn(text: string): Heartbeats {
  const beats: Heartbeats = { ticks: [], checks: 0, faults: [] };
  for (const line of text.split(/\r?\n/).slice(0, -1)) {
    const match = /^tick (\d+) checks (\d+) ok$/.exec(line);
    if (match) {
      beats.ticks.push(Number(match[1]));
      beats.checks = Number(match[2]);
    } else if (line.startsWith('FAULT')) beats.faults.push(line);
  }
  return beats;
}
