/** A disk image with Debian's PostgreSQL on it, ready to serve: programs, libraries, a cluster with pgbench's tables and a ledger. */

import { execFile } from 'node:child_process';
import { chmod, chown, copyFile, cp, mkdir, mkdtemp, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { RomulusError } from '../shared/errors.ts';
import { cacheDir } from './cache.ts';
import { command } from './command.ts';
import { diskModules } from './disk.ts';
import type { GuestFeature } from './feature.ts';
import { addProgram, addScript, librariesOf } from './lay-out.ts';

const run = promisify(execFile);
const VERSION = '15';
/** Where Debian puts it. */
export const POSTGRES_DIR = `/usr/lib/postgresql/${VERSION}`;
const SHARE_DIR = `/usr/share/postgresql/${VERSION}`;
/** PostgreSQL does not run as root. */
const USER = 65534;
const IMAGE_MIB = 256;
/** Changes when what is written below does. */
const LAYOUT = 1;

const CONFIG = `
listen_addresses = '*'
unix_socket_directories = '/tmp'
shared_buffers = 8MB
max_connections = 24
dynamic_shared_memory_type = mmap
min_wal_size = 32MB
max_wal_size = 48MB
checkpoint_timeout = 30s
timezone = 'GMT'
log_timezone = 'GMT'
autovacuum_naptime = 10s
jit = off
`;

const SCHEMA = `
CREATE EXTENSION amcheck;
CREATE TABLE ledger (client int, n bigint, note text, PRIMARY KEY (client, n));
`;

/** The cloud kernel has ext4 built in. */
export const database: GuestFeature = {
  sources: ['keepdb.c', 'server.h', 'database'],
  modules: diskModules,
  add: addDatabase,
};

async function addDatabase(root: string, sourceDir: string): Promise<void> {
  await addProgram(root, sourceDir, 'keepdb');
  await addScript(root, sourceDir, 'database');
  await command('ln', ['-sf', 'busybox', join(root, 'bin', 'mkdir')], root);
}

/** Path of the image, made once; copy it, since a guest writes on it. Needs root, postgresql-15 and mke2fs. */
export async function buildPostgresDisk(): Promise<string> {
  const path = join(cacheDir(), `postgres-${VERSION}-${IMAGE_MIB}-${LAYOUT}.img`);
  if (await stat(path).catch(() => undefined)) return path;
  if (!(await stat(join(POSTGRES_DIR, 'bin/postgres')).catch(() => undefined))) throw missing();
  await mkdir(cacheDir(), { recursive: true });
  const work = await mkdtemp(join(tmpdir(), 'romulus-pg-'));
  try {
    await chmod(work, 0o755);
    const root = join(work, 'root');
    await layOut(root);
    await makeCluster(work, join(root, 'data'));
    const image = join(work, 'image');
    await run('truncate', ['-s', `${IMAGE_MIB}M`, image]);
    await run('mke2fs', ['-q', '-t', 'ext4', '-m', '0', '-d', root, image]);
    const made = join(cacheDir(), `.postgres-${process.pid}`);
    await run('cp', ['--sparse=always', image, made]);
    await rename(made, path);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  return path;
}

async function layOut(root: string): Promise<void> {
  const programs = ['postgres'].map((name) => join(POSTGRES_DIR, 'bin', name));
  for (const dir of ['dev', 'tmp', 'etc']) await mkdir(join(root, dir), { recursive: true });
  await chmod(join(root, 'tmp'), 0o1777);
  await writeFile(join(root, 'etc/passwd'), `postgres:x:${USER}:${USER}::/:/bin/false\n`);
  for (const program of programs) {
    for (const path of [program, ...(await librariesOf(program, root))]) {
      await mkdir(dirname(join(root, path)), { recursive: true });
      await copyFile(path, join(root, path));
      await chmod(join(root, path), 0o755);
    }
  }
  const lib = join(POSTGRES_DIR, 'lib');
  await cp(lib, join(root, lib), {
    recursive: true,
    dereference: true,
    filter: (path) => !/bitcode|llvmjit|\/pgxs/.test(path),
  });
  await cp(SHARE_DIR, join(root, SHARE_DIR), { recursive: true, dereference: true });
}

/** A cluster made and filled by a server of this host, then shut down. */
async function makeCluster(work: string, data: string): Promise<void> {
  await mkdir(data);
  await chown(data, USER, USER);
  await chmod(data, 0o700);
  const as = { uid: USER, gid: USER, cwd: '/tmp', maxBuffer: 16 * 1024 * 1024 };
  const bin = (name: string) => join(POSTGRES_DIR, 'bin', name);
  await run(
    bin('initdb'),
    ['-D', data, '-A', 'trust', '-U', 'postgres', '--locale=C', '-E', 'UTF8', '--no-sync'],
    as,
  );
  const sockets = join(work, 'sockets');
  await mkdir(sockets);
  await chown(sockets, USER, USER);
  const options = `-c listen_addresses= -c unix_socket_directories=${sockets}`;
  await run(bin('pg_ctl'), ['-D', data, '-w', '-o', options, '-l', join(sockets, 'log'), 'start'], as);
  const connect = ['-h', sockets, '-U', 'postgres'];
  try {
    await run(bin('psql'), [...connect, '-v', 'ON_ERROR_STOP=1', '-c', SCHEMA, 'postgres'], as);
    await run(bin('pgbench'), [...connect, '-i', '-q', '-s', '1', 'postgres'], as);
  } finally {
    await run(bin('pg_ctl'), ['-D', data, '-w', 'stop'], as);
  }
  await writeFile(join(data, 'pg_hba.conf'), 'host all all 0.0.0.0/0 trust\n', { flag: 'a' });
  await writeFile(join(data, 'postgresql.conf'), CONFIG, { flag: 'a' });
}

function missing(): RomulusError {
  return new RomulusError('PREREQUISITE', `PostgreSQL ${VERSION} is not installed`, {
    hint: `apt-get install postgresql-${VERSION}`,
  });
}
