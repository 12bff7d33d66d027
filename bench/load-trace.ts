/**
 * Boots the demo guest with a load that never pauses and records what it dirties, in epochs of one length after another:
 * npx tsx bench/load-trace.ts sqlite TRACES 100x20 500x8 writes TRACES/sqlite-100.trace.zst (20 epochs of 100 ms) and so on;
 * --gib 4 does it with a guest of 4 GiB, TRACES/sqlite-4g-100.trace.zst.
 */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { type RecordResult, recordTrace } from '../cli/record.ts';
import { buildGuest } from '../guest/build.ts';
import { buildPostgresDisk } from '../guest/postgres.ts';
import { type SteadyLoad, steadyLoads } from '../guest/steady.ts';
import { preloadPath } from '../native/preload.ts';
import { QemuSource } from '../primary/hypervisor/qemu.ts';
import { RomulusError } from '../shared/errors.ts';
import { qemuFiles } from '../shared/hypervisor/qemu-args.ts';
import { findQemu, killQemu } from '../shared/hypervisor/qemu-process.ts';
import type { VmSpec } from '../shared/vm.ts';

/** Emulated on a busy machine, with its data to lay down first. */
const READY_MS = 300_000;
const POLL_MS = 200;
/** Until the load is past its first moments. */
const SETTLE_MS = 10_000;

export interface Span {
  epochMs: number;
  epochs: number;
}

export interface LoadTraceRequest {
  load: SteadyLoad;
  /** What the traces are called, unless just like the load. */
  name?: string;
  memoryMiB: number;
  /** Directory; each span gets NAME-EPOCHMS.trace.zst in it. */
  into: string;
  spans: readonly Span[];
  settleMs?: number;
  onProgress(line: string): void;
}

/** One boot for all spans. Throws PREREQUISITE, or INTERNAL if the load never got ready. */
export async function recordLoad(request: LoadTraceRequest): Promise<RecordResult[]> {
  const { load, onProgress, name = load } = request;
  const runDir = mkdtempSync(join(tmpdir(), 'rom-load-'));
  const spec = await describe(request, runDir);
  const source = new QemuSource(spec, { runDir, preloadPath: preloadPath() });
  const results: RecordResult[] = [];
  try {
    onProgress(`booting a guest of ${request.memoryMiB} MiB with ${load}`);
    await source.attach({ mayStart: true });
    await untilReady(spec.serialLog ?? '');
    await delay(request.settleMs ?? SETTLE_MS);
    for (const { epochMs, epochs } of request.spans) {
      onProgress(`${epochs} epochs of ${epochMs} ms`);
      const path = join(request.into, `${name}-${epochMs}.trace.zst`);
      const signal = new AbortController().signal;
      results.push(await recordTrace({ source, name, epochs, epochMs, path, signal, onProgress: () => {} }));
    }
    await source.detach();
    return results;
  } finally {
    const qemu = await findQemu(qemuFiles(join(runDir, spec.name)).record);
    if (qemu) await killQemu(qemu);
    rmSync(runDir, { recursive: true, force: true });
  }
}

/** The heartbeat hardly does anything: the load is what is recorded. */
async function describe({ load, memoryMiB }: LoadTraceRequest, runDir: string): Promise<VmSpec> {
  const heartbeat = { structureMiB: 1, pagesPerStep: 1, stepsPerSecond: 1 };
  const database = load === 'postgres';
  const guest = await buildGuest({ ...heartbeat, steady: load, database });
  const disk = join(runDir, 'disk.img');
  if (database) execFileSync('cp', ['--sparse=always', await buildPostgresDisk(), disk]);
  return {
    name: load,
    hypervisor: 'qemu',
    memoryBytes: memoryMiB * 2 ** 20,
    cpus: 1,
    ...guest,
    serialLog: join(runDir, 'serial.log'),
    ...(database && { extraArgs: ['-drive', `file=${disk},format=raw,if=virtio`] }),
  };
}

async function untilReady(serialLog: string): Promise<void> {
  const deadline = performance.now() + READY_MS;
  for (;;) {
    const said = readFileSync(serialLog, 'utf8');
    const fault = /^FAULT .*$/m.exec(said)?.[0];
    if (said.includes('load ready')) return;
    if (fault !== undefined || performance.now() > deadline) {
      const last = fault ?? said.split(/\r?\n/).slice(-5).join(' | ');
      throw new RomulusError('INTERNAL', `the load in the guest did not start; its serial line: ${last}`);
    }
    await delay(POLL_MS);
  }
}

/** "100x20": 20 epochs of 100 ms. */
function spanOf(text: string): Span | undefined {
  const [, epochMs, epochs] = /^([1-9]\d*)x([1-9]\d*)$/.exec(text) ?? [];
  return epochMs === undefined ? undefined : { epochMs: Number(epochMs), epochs: Number(epochs) };
}

async function main(args: string[]): Promise<void> {
  const options = { gib: { type: 'string', default: '1' } } as const;
  const { values, positionals } = parseArgs({ args, allowPositionals: true, options });
  const [word, into, ...rest] = positionals;
  const load = steadyLoads.find((known) => known === word);
  const spans = rest.map(spanOf).filter((span) => span !== undefined);
  const gib = Number(values.gib);
  const isSound = rest.length > 0 && spans.length === rest.length && gib > 0;
  if (load === undefined || into === undefined || !isSound) {
    throw new RomulusError(
      'USAGE',
      `usage: load-trace.ts ${steadyLoads.join('|')} DIRECTORY MSxEPOCHS... [--gib N]`,
    );
  }
  const results = await recordLoad({
    load,
    ...(gib !== 1 && { name: `${load}-${gib}g` }),
    memoryMiB: gib * 1024,
    into,
    spans,
    onProgress: (line) => console.error(line),
  });
  for (const { path, epochs, epochMs, dirtyPages } of results) {
    console.log(`${path}: ${epochs} epochs of ${epochMs} ms, ${dirtyPages} dirty pages`);
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await main(process.argv.slice(2));
}
