/** The engine's own tests and fuzzers, compiled straight from the sources: no Node in them, so sanitizers can look in. */

import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { fail, nativeDir, run } from './command.mjs';

const outDir = join(nativeDir, 'build/test');
const libs = ['-lpthread', '-lzstd'];

function sources(folder, suffix) {
  return readdirSync(join(nativeDir, folder))
    .filter((name) => name.endsWith(suffix))
    .sort()
    .map((name) => join(folder, name));
}

/** All that tests and fuzzers are linked with: the engine, the disk, and what of the benchmarks reads foreign bytes. */
function tested() {
  return [...sources('engine', '.cc'), ...sources('disk', '.cc'), 'bench/xbzrle.cc', 'bench/trace.cc'];
}

/** Compiles every source to an object, as many at once as there are processors; returns the objects. */
async function compile(compiler, flags, files, tag) {
  mkdirSync(outDir, { recursive: true });
  const waiting = files.map((file) => ({ file, object: join(outDir, `${tag}-${basename(file, '.cc')}.o`) }));
  const objects = waiting.map((job) => job.object);
  const worker = async () => {
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) {
      const { file, object } = job;
      const child = spawn(compiler, [...flags, '-c', file, '-o', object], {
        stdio: 'inherit',
        cwd: nativeDir,
      });
      const code = await new Promise((resolve) =>
        child.once('close', resolve).once('error', () => resolve(1)),
      );
      if (code !== 0) fail(`${compiler} could not compile ${file}`);
    }
  };
  await Promise.all(Array.from({ length: availableParallelism() }, worker));
  return objects;
}

export async function runTests({ sanitize }) {
  const checks = sanitize
    ? ['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-fno-omit-frame-pointer']
    : [];
  const flags = [
    '-std=gnu++20',
    '-O2',
    '-g',
    '-Wall',
    '-Wextra',
    '-Werror',
    '-fno-exceptions',
    '-fno-rtti',
    ...checks,
  ];
  const tag = sanitize ? 'asan' : 'plain';
  const engine = await compile('g++', flags, tested(), tag);
  const tests = sources('test', '_test.cc');
  const testObjects = await compile('g++', flags, tests, tag);
  for (const [i, test] of tests.entries()) {
    const program = join(outDir, `${tag}-${basename(test, '.cc')}`);
    run('g++', [...checks, testObjects[i], ...engine, '-o', program, ...libs]);
    for (const level of ['portable', 'avx2', 'avx512']) {
      const start = process.hrtime.bigint();
      run(program, [], { env: { ...process.env, ROMULUS_CPU: level } });
      console.log(
        `ok  ${basename(test, '.cc')} (${level}, ${(process.hrtime.bigint() - start) / 1_000_000n} ms)`,
      );
    }
  }
}

export async function runFuzzers(seconds) {
  if (!Number.isInteger(seconds) || seconds < 1) fail('--fuzz takes a number of seconds');
  const compiler = ['clang++-16', 'clang++'].find((name) =>
    (process.env.PATH ?? '').split(':').some((dir) => existsSync(join(dir, name))),
  );
  if (compiler === undefined) fail('clang missing. Run: sudo apt-get install -y clang-16 libclang-rt-16-dev');
  const checks = ['-fsanitize=fuzzer-no-link,address,undefined', '-fno-sanitize-recover=all'];
  const flags = ['-std=gnu++20', '-O2', '-g', '-Wall', '-Wextra', '-fno-exceptions', '-fno-rtti', ...checks];
  const engine = await compile(compiler, flags, tested(), 'fuzz');
  for (const target of sources('fuzz', '_fuzz.cc')) {
    const [object] = await compile(compiler, flags, [target], 'fuzz');
    const name = basename(target, '.cc');
    const program = join(outDir, name);
    run(compiler, ['-fsanitize=fuzzer,address,undefined', object, ...engine, '-o', program, ...libs]);
    const seeds = join(nativeDir, 'fuzz/corpus', name);
    const found = join(outDir, `corpus-${name}`);
    mkdirSync(found, { recursive: true });
    const corpora = [found, ...(existsSync(seeds) ? [seeds] : [])];
    run(program, [
      `-max_total_time=${seconds}`,
      '-print_final_stats=1',
      '-max_len=20000',
      `-artifact_prefix=${outDir}/`,
      ...corpora,
    ]);
  }
}
