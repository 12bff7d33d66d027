/** The Source and Target contracts for recorded guests. */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { REPLAY_FILE, ReplayTarget } from '../../backup/hypervisor/replay.ts';
import { ReplaySource } from '../../primary/hypervisor/replay.ts';
import { checkpointByHand } from '../support/checkpoint.ts';
import { makeTrace } from '../support/trace.ts';
import { sourceContract } from './source.ts';
import { targetContract } from './target.ts';

sourceContract('replay', async () => {
  const trace = await makeTrace({ epochs: 8 });
  const runDir = mkdtempSync(join(tmpdir(), 'romulus-replay-'));
  return {
    open: () => new ReplaySource({ tracePath: trace.path, runDir }),
    work: async () => {}, // it writes whenever it is let run
    async dispose() {
      for (const dir of [runDir, dirname(trace.path)]) rmSync(dir, { recursive: true, force: true });
    },
  };
});

targetContract('replay', async () => {
  const trace = await makeTrace();
  const dir = mkdtempSync(join(tmpdir(), 'romulus-replay-'));
  const source = new ReplaySource({ tracePath: trace.path, runDir: dir });
  await source.attach();
  return {
    spec: { name: 'replay', hypervisor: 'replay', memoryBytes: trace.ramBytes, cpus: 1 },
    geometry: source.geometry,
    open: () => new ReplayTarget(),
    checkpoint: async () => checkpointByHand(source, await mkdtemp(join(dir, 'standby-'))),
    async proveRunning({ runDir }) {
      const epochs = Number(readFileSync(join(runDir, REPLAY_FILE), 'utf8'));
      if (!(epochs >= 1)) throw new Error('it did not go on from an epoch');
    },
    async dispose() {
      await source.detach();
      for (const each of [dir, dirname(trace.path)]) rmSync(each, { recursive: true, force: true });
    },
  };
});
