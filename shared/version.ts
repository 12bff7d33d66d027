/** The version of this build, from package.json; the same from sources and from dist/. */

import { createRequire } from 'node:module';

export const VERSION: string = (createRequire(import.meta.url)('#package') as { version: string }).version;
