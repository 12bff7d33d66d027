/**
 * Runs in dom0: checkpoints a guest for N epochs as the primary does, checks the shadow copy against the guest, prints the
 * figures in the last line, and what was held after a fifth of the epochs and after the last. Settings are in the environment:
 *   COMPARE_EVERY   epochs between two comparisons (25); the last one is always compared, unless 0
 *   BALLOON_TO_MIB  the guest gives memory back after a quarter of the epochs and takes it again after half
 *   DIE_AT          epoch in whose pause this process is killed
 */

import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { engine } from '../../../native/index.ts';
import { XenSource } from '../../../primary/hypervisor/xen.ts';
import { domainNumber } from '../../../shared/hypervisor/xl.ts';
import { balloon, differingPages, memoryMiB } from './guest-memory.ts';
import { type Held, heldNow } from './held.ts';
import { mediansOf } from './medians.ts';

/** Between two lines about what is held, while it goes on. */
const TELL_EVERY = 100;

const [name = 'guest', epochs = '60', intervalMs = '200', outDir] = process.argv.slice(2);
const count = Number(epochs);
const { COMPARE_EVERY = '25', BALLOON_TO_MIB, DIE_AT } = process.env;
const compareEvery = Number(COMPARE_EVERY);
const source = new XenSource({ name, hypervisor: 'xen', memoryBytes: 0, cpus: 0 });
let mark = performance.now();
const lap = (): number => {
  const now = performance.now();
  const spent = now - mark;
  mark = now;
  return Math.round(spent * 100) / 100;
};

await source.attach();
const attachMs = lap();
const domid = (await domainNumber(name)) as number;
const pages = source.memory.sizeBytes / 4096;
const shadow = engine().anonymousMemory(source.memory.sizeBytes);
const encoder = engine().createEncoder({ memory: source.memory, shadow, threads: 1, maxSlabs: 4 });
const dirty = engine().createBitmap(pages);

const encodeAll = async (): Promise<{ payloadBytes: number; changedPages: number }> => {
  let payloadBytes = 0;
  let changedPages = 0;
  for (let complete = false; !complete; ) {
    const result = await encoder.encode(dirty);
    complete = result.complete;
    payloadBytes += result.payloadBytes;
    changedPages += result.dirtyPages - result.unchangedPages;
    for (const chunk of result.chunks) encoder.release(chunk.slab);
  }
  return { payloadBytes, changedPages };
};

await source.takeDirty(dirty);
lap();
const first = await encodeAll();
const firstCopyMs = lap();

/** `downMs` is from suspended to resumed as the driver has it, `wholeMs` all from the request to the state. */
type Row = Record<
  | 'suspendMs'
  | 'takeMs'
  | 'encodeMs'
  | 'stateMs'
  | 'resumeMs'
  | 'downMs'
  | 'wholeMs'
  | 'dirtyPages'
  | 'changedPages'
  | 'payloadBytes',
  number
>;
const rows: Row[] = [];
let state: Buffer = Buffer.alloc(0);
let differing = 0;
let compared = 0;
let warm: Held | undefined;
const fullMiB = await memoryMiB(name);
let smallestMiB = fullMiB;
for (let epoch = 1; epoch <= count; epoch++) {
  if (BALLOON_TO_MIB !== undefined && epoch === Math.floor(count / 4)) balloon(name, Number(BALLOON_TO_MIB));
  if (BALLOON_TO_MIB !== undefined && epoch === Math.floor(count / 2)) {
    smallestMiB = await memoryMiB(name);
    balloon(name, fullMiB);
  }
  if (epoch === Math.floor(count / 5)) warm = await heldNow(domid);
  await new Promise((resolve) => setTimeout(resolve, Number(intervalMs)));
  lap();
  await source.pause();
  const suspendMs = lap();
  if (epoch === Number(DIE_AT)) process.kill(process.pid, 'SIGKILL');
  const dirtyPages = await source.takeDirty(dirty);
  const takeMs = lap();
  const { payloadBytes, changedPages } = await encodeAll();
  const encodeMs = lap();
  const stateBegan = source.deviceState();
  if (compareEvery > 0 && (epoch === count || epoch % compareEvery === 0)) {
    differing += differingPages(source.memory, shadow);
    compared++;
  }
  if (epoch === count && outDir !== undefined) save(outDir, await stateBegan);
  lap();
  await source.resume();
  const resumeMs = lap();
  state = await stateBegan;
  const stateMs = lap();
  if (epoch % TELL_EVERY === 0) console.error(JSON.stringify({ epoch, held: await heldNow(domid) }));
  const wholeMs = suspendMs + takeMs + encodeMs + stateMs + resumeMs;
  const times = { suspendMs, takeMs, encodeMs, stateMs, resumeMs, downMs: source.downMs, wholeMs };
  rows.push({ ...times, dirtyPages, changedPages, payloadBytes });
}
const stateOfGuest = await source.guestState();
const held = await heldNow(domid);
await source.detach();

console.log(
  JSON.stringify({
    attachMs,
    firstCopyMs,
    firstBytes: first.payloadBytes,
    pages,
    cpus: source.geometry.cpus,
    stateBytes: state.length,
    medians: mediansOf(rows),
    differing,
    compared,
    smallestMiB,
    memoryMiB: await memoryMiB(name),
    stateOfGuest,
    warm,
    held,
  }),
);

/** Leaves what a backup would hold: the image and the state file. */
function save(dir: string, saved: Buffer): void {
  const image = openSync(`${dir}/image`, 'w');
  for (let at = 0; at < shadow.sizeBytes; at += 1 << 20)
    writeSync(image, shadow.read(at, Math.min(1 << 20, shadow.sizeBytes - at)));
  closeSync(image);
  writeFileSync(`${dir}/state`, saved);
}
