/** Runs in dom0: starts a guest from image and state as a backup does, or with `save FILE` writes them as a save file. */

import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { imageReader, XenTarget } from '../../../backup/hypervisor/xen.ts';
import { unpackXenState } from '../../../shared/hypervisor/xen-state.ts';
import { saveFile } from '../../../shared/hypervisor/xen-stream.ts';

const [name = 'guest', dir = '.', saveTo] = process.argv.slice(2);
const began = performance.now();
if (saveTo !== undefined) {
  const image = openSync(`${dir}/image`, 'r');
  const out = openSync(saveTo, 'w');
  for (const piece of saveFile(unpackXenState(readFileSync(`${dir}/state`)), imageReader(image)))
    writeSync(out, piece);
  closeSync(out);
  closeSync(image);
} else {
  const spec = { name, hypervisor: 'xen' as const, memoryBytes: 0, cpus: 0 };
  const target = new XenTarget(spec);
  await target.prepare(spec, { imagePath: `${dir}/image`, runDir: dir });
  await target.start(`${dir}/state`);
}
console.log(JSON.stringify({ tookMs: Math.round(performance.now() - began) }));
