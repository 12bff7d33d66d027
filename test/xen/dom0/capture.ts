/** Runs in dom0: checkpoints a guest for N epochs as the primary does, checks the shadow copy against the guest, prints the figures. */

import { closeSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { engine } from '../../../native/index.ts';
import { XenSource } from '../../../primary/hypervisor/xen.ts';

/** Epochs between two comparisons; the last one is always compared. */
const COMPARE_EVERY = 25;

const [name = 'guest', epochs = '60', intervalMs = '200', outDir] = process.argv.slice(2);
const count = Number(epochs);
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

interface EpochFigures {
  suspendMs: number;
  takeMs: number;
  encodeMs: number;
  stateMs: number;
  resumeMs: number;
  /** All of these. */
  wholeMs: number;
  dirtyPages: number;
  changedPages: number;
  payloadBytes: number;
}
const rows: EpochFigures[] = [];
let state: Buffer = Buffer.alloc(0);
let differing = 0;
let compared = 0;
const epochsBegan = performance.now();
for (let epoch = 1; epoch <= count; epoch++) {
  await new Promise((resolve) => setTimeout(resolve, Number(intervalMs)));
  lap();
  await source.pause();
  const suspendMs = lap();
  const dirtyPages = await source.takeDirty(dirty);
  const takeMs = lap();
  const { payloadBytes, changedPages } = await encodeAll();
  const encodeMs = lap();
  state = await source.deviceState();
  const stateMs = lap();
  if (epoch === count || epoch % COMPARE_EVERY === 0) {
    differing += compare();
    compared++;
  }
  if (epoch === count && outDir !== undefined) save(outDir);
  lap();
  await source.resume();
  const resumeMs = lap();
  const wholeMs = suspendMs + takeMs + encodeMs + stateMs + resumeMs;
  rows.push({
    suspendMs,
    takeMs,
    encodeMs,
    stateMs,
    resumeMs,
    wholeMs,
    dirtyPages,
    changedPages,
    payloadBytes,
  });
}
const ranMs = performance.now() - epochsBegan;
const stateOfGuest = await source.guestState();
await source.detach();

const median = (key: keyof EpochFigures): number =>
  rows.map((row) => row[key]).sort((a, b) => a - b)[Math.floor(rows.length / 2)] ?? 0;
const medians = Object.fromEntries(
  (Object.keys(rows[0] as EpochFigures) as (keyof EpochFigures)[]).map((k) => [k, median(k)]),
);
console.log(
  JSON.stringify({
    attachMs,
    firstCopyMs,
    firstBytes: first.payloadBytes,
    pages,
    stateBytes: state.length,
    medians,
    differing,
    compared,
    runMs: Math.round(ranMs),
    stateOfGuest,
  }),
);

/** Pages in which the suspended guest differs from the shadow copy. */
function compare(): number {
  let found = 0;
  const batch = 256;
  for (let page = 0; page < pages; page += batch) {
    const length = Math.min(batch, pages - page) * 4096;
    const now = source.memory.read(page * 4096, length);
    const was = shadow.read(page * 4096, length);
    if (now.equals(was)) continue;
    for (let p = 0; p < length; p += 4096)
      if (!now.subarray(p, p + 4096).equals(was.subarray(p, p + 4096))) found++;
  }
  return found;
}

/** Leaves what a backup would hold: the image and the state file. */
function save(dir: string): void {
  const image = openSync(`${dir}/image`, 'w');
  for (let at = 0; at < shadow.sizeBytes; at += 1 << 20)
    writeSync(image, shadow.read(at, Math.min(1 << 20, shadow.sizeBytes - at)));
  closeSync(image);
  writeFileSync(`${dir}/state`, state);
}
