/** Where guests are kept once built. */

import { homedir } from 'node:os';
import { join } from 'node:path';

/** `$ROMULUS_CACHE`, or ~/.cache/romulus. */
export function cacheDir(): string {
  return process.env.ROMULUS_CACHE ?? join(homedir(), '.cache', 'romulus');
}
