/** Where guests are kept once built. */

import { mkdir, mkdtemp, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';

/** `$ROMULUS_CACHE`, or ~/.cache/romulus. */
export function cacheDir(): string {
  return process.env.ROMULUS_CACHE ?? join(homedir(), '.cache', 'romulus');
}

/** Makes `name-version` in the cache unless it is there; rename makes it whole at once, whoever else builds meanwhile. */
export async function once(
  name: string,
  version: string,
  make: (dir: string) => Promise<string>,
): Promise<string> {
  const path = join(cacheDir(), `${name}-${version}`);
  if (await stat(path).catch(() => undefined)) return path;
  await mkdir(cacheDir(), { recursive: true });
  const dir = await mkdtemp(join(cacheDir(), `.${name}-`));
  try {
    await rename(await make(dir), path);
  } catch (error) {
    if (!(await stat(path).catch(() => undefined))) throw error; // somebody else was faster
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
  return path;
}
