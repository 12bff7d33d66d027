/** Adds to the demo guest a load that never pauses, all of it inside, so that traces of it can be recorded. */

import { join } from 'node:path';
import { command } from './command.ts';
import type { GuestFeature } from './feature.ts';
import { addProgram, addScript, addSystemProgram, requireFile } from './lay-out.ts';
import { POSTGRES_DIR } from './postgres.ts';

export const steadyLoads = [
  'sqlite',
  'sqlite-large',
  'redis',
  'postgres',
  'web',
  'compile',
  'stencil',
  'fft',
] as const;
export type SteadyLoad = (typeof steadyLoads)[number];

/** Comes with Debian's libsqlite3-dev, beside the library itself. */
export const SQLITE_HEADER = '/usr/include/sqlite3.h';

/** What each consists of besides its script: sources of guest/steady/, and how they come into the initramfs. */
const parts: Record<SteadyLoad, { sources: string[]; add(root: string, sourceDir: string): Promise<void> }> =
  {
    sqlite: { sources: ['sqlite.c'], add: addSqlite },
    'sqlite-large': { sources: ['sqlite.c'], add: addSqlite },
    redis: {
      sources: [],
      async add(root) {
        await addSystemProgram(root, '/usr/bin/redis-server', 'redis-server');
        await addSystemProgram(root, '/usr/bin/redis-benchmark', 'redis-tools');
      },
    },
    postgres: {
      sources: [],
      async add(root) {
        await addApplets(root, ['sleep']);
        await addSystemProgram(root, join(POSTGRES_DIR, 'bin/pgbench'), 'postgresql-15');
      },
    },
    web: { sources: [], add: (root) => addApplets(root, ['ip', 'mkdir', 'httpd', 'wget']) },
    compile: { sources: [], add: addCompiler },
    stencil: { sources: ['numbers.c'], add: addNumbers },
    fft: { sources: ['numbers.c'], add: addNumbers },
  };

/** 'postgres' works on what the feature `database` brings up. */
export function steady(load: SteadyLoad): GuestFeature {
  const { sources, add } = parts[load];
  return {
    sources: [load, ...sources].map((name) => join('steady', name)),
    modules: [],
    async add(root, sourceDir) {
      const from = join(sourceDir, 'steady');
      await add(root, from);
      await addScript(root, from, load, 'steady');
    },
  };
}

async function addSqlite(root: string, from: string): Promise<void> {
  await requireFile(SQLITE_HEADER, 'libsqlite3-dev');
  await addProgram(root, from, 'sqlite', ['-lsqlite3', '-lm']);
}

async function addApplets(root: string, names: readonly string[]): Promise<void> {
  for (const name of names) await command('ln', ['-sf', 'busybox', join(root, 'bin', name)], root);
}

function addNumbers(root: string, from: string): Promise<void> {
  return addProgram(root, from, 'numbers', ['-lm']);
}

/** The compiler proper reads preprocessed source, and needs neither headers nor an assembler. */
async function addCompiler(root: string, from: string): Promise<void> {
  const cc1 = (await command('gcc', ['-print-prog-name=cc1'], root)).trim();
  await addSystemProgram(root, cc1, 'gcc');
  await command('gcc', ['-E', '-o', join(root, 'source.i'), join(from, '../heartbeat.c')], root);
}
