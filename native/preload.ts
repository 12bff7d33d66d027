/** Where the built dirty-page library lies that goes into QEMU by LD_PRELOAD, from sources and from dist/ alike. */

import { createRequire } from 'node:module';
import { RomulusError } from '../shared/errors.ts';

export function preloadPath(): string {
  try {
    return createRequire(import.meta.url).resolve('#preload');
  } catch (cause) {
    throw new RomulusError('PREREQUISITE', 'the dirty-page library is not built', {
      hint: 'npm run install',
      cause,
    });
  }
}
