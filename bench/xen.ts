/**
 * One guest of a real Xen host in one boot under `xl save`, under Xen's own Remus, under a capture that maps each epoch's pages
 * as libxc does, and under Romulus: what the guest sees of it, and what is sent. The host is emulated, so that times are to be
 * compared with each other only.
 */

import { RomulusError } from '../shared/errors.ts';
import { median, Samples } from '../shared/samples.ts';
import type { GuestConsole } from '../test/xen/testbed/guest.ts';
import type { XenHost } from '../test/xen/testbed/host.ts';

export interface XenBenchOptions {
  /** Turns of each method, one after the other. */
  rounds: number;
  /** Checkpoints in each turn, of which the first does not count. */
  epochs: number;
  onProgress(line: string): void;
}

interface Quantiles {
  p50: number;
  p99: number;
}

/** Null: not a matter of this method, or not measured. */
export interface XenRow {
  method: 'xl save' | 'xl remus' | 'mapping each epoch' | 'romulus';
  epochs: number;
  /** How long the guest was suspended by its own clocks. */
  pauseMs: Quantiles | null;
  /** How long a program of the guest stood: the guest freezes all of them before it suspends, and thaws them after. */
  stoodMs: Quantiles | null;
  /** From seeing the guest suspended to asking Xen to let it go on, in dom0; median. */
  downMs: number | null;
  dirtyPages: number | null;
  /** Of an epoch, or of the whole save file; medians. */
  bytes: number | null;
  /** From the request until the guest went on and its state was at hand, or of the whole save; medians. */
  takesMs: number | null;
}

const INTERVAL_MS = 200;
const LIMIT_MS = 300_000;
const REMUS = `xl remus -Fnd -i ${INTERVAL_MS}`;
const POLL_MS = 50;
const SETTLE_MS = 1000;

interface Capture {
  medians: { downMs: number; dirtyPages: number; payloadBytes: number; wholeMs: number };
  stateBytes: number;
}

class Pauses {
  readonly suspended = new Samples(100_000);
  readonly stood = new Samples(100_000);

  /** Of one turn of so many checkpoints, the first of which still belongs to its beginning. */
  add(said: string, epochs: number): void {
    for (const [, suspended, stood] of pausesIn(said).slice(1 - epochs)) {
      this.suspended.add(Number(suspended));
      this.stood.add(Number(stood));
    }
  }

  get columns(): Pick<XenRow, 'epochs' | 'pauseMs' | 'stoodMs'> {
    const quantiles = (samples: Samples) => ({ p50: samples.quantile(0.5), p99: samples.quantile(0.99) });
    return {
      epochs: this.suspended.count,
      pauseMs: quantiles(this.suspended),
      stoodMs: quantiles(this.stood),
    };
  }
}

export async function benchXen({ rounds, epochs, onProgress }: XenBenchOptions): Promise<XenRow[]> {
  const { buildTestbed } = await import('../test/xen/testbed/build.ts');
  const { onOneHost } = await import('../test/xen/one-host.ts');
  if (!buildTestbed()) {
    throw new RomulusError('PREREQUISITE', 'the Xen testbed could not be built', {
      hint: 'node cli/setup.mjs --for build,xen',
    });
  }
  const programs = ['capture', 'mapped', 'stream'].map((program) => `test/xen/dom0/${program}.ts`);
  return onOneHost(onProgress, { programs, extra: 'pauses=1' }, async (host, console) => {
    const [remus, mapping, romulus] = [new Pauses(), new Pauses(), new Pauses()];
    const saves: { bytes: number; takesMs: number }[] = [];
    const [mapped, captures]: [Capture[], Capture[]] = [[], []];
    for (let round = 1; round <= rounds; round++) {
      saves.push(await fullSave(host));
      remus.add(await remusTurn(host, console, '-b guest nowhere', epochs), epochs);
      // Takes the guest up as the killed Remus left it: in log-dirty mode, and maybe suspended.
      const ours = await turn(host, console, `COMPARE_EVERY=0 node capture.mjs guest ${epochs}`);
      captures.push(ours.figures);
      romulus.add(ours.said, epochs);
      const baseline = await turn(host, console, `node mapped.mjs guest ${epochs}`);
      mapped.push(baseline.figures);
      mapping.add(baseline.said, epochs);
      onProgress(`round ${round} of ${rounds}`);
    }
    const checkpoints = await remusStream(host, console, epochs);
    const ours = (key: keyof Capture['medians']) => median(captures.map(({ medians }) => medians[key]));
    const none = { epochs: rounds, pauseMs: null, stoodMs: null, downMs: null, dirtyPages: null };
    const ofSaves = (key: 'bytes' | 'takesMs') => median(saves.map((save) => save[key]));
    return [
      { method: 'xl save', ...none, bytes: ofSaves('bytes'), takesMs: ofSaves('takesMs') },
      {
        method: 'xl remus',
        ...remus.columns,
        downMs: null,
        dirtyPages: median(checkpoints.map(({ pages }) => pages)),
        bytes: median(checkpoints.map(({ bytes }) => bytes)),
        takesMs: null,
      },
      {
        method: 'mapping each epoch',
        ...mapping.columns,
        downMs: median(mapped.map(({ medians }) => medians.downMs)),
        dirtyPages: median(mapped.map(({ medians }) => medians.dirtyPages)),
        bytes: null,
        takesMs: null,
      },
      {
        method: 'romulus',
        ...romulus.columns,
        downMs: ours('downMs'),
        dirtyPages: ours('dirtyPages'),
        bytes: ours('payloadBytes') + median(captures.map(({ stateBytes }) => stateBytes)),
        takesMs: ours('wholeMs'),
      },
    ];
  });
}

async function fullSave(host: XenHost): Promise<{ bytes: number; takesMs: number }> {
  const command = 'from=$(date +%s%N); xl save -c guest /root/out/save 2>/dev/null; to=$(date +%s%N)';
  const said = await host.run(
    `${command}; echo $((to - from)) $(stat -c %s /root/out/save); rm /root/out/save`,
    LIMIT_MS,
  );
  const [ns = 0, bytes = 0] = said.trim().split(' ').map(Number);
  return { bytes, takesMs: ns / 1e6 };
}

/** A turn of a program that ends by itself, with what the guest said meanwhile. */
async function turn(
  host: XenHost,
  console: GuestConsole,
  command: string,
): Promise<{ figures: Capture; said: string }> {
  const before = console.text.length;
  const figures = JSON.parse(await host.run(`${command} ${INTERVAL_MS}`, LIMIT_MS)) as Capture;
  // The guest prints a pause a moment after it.
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  return { figures, said: console.text.slice(before) };
}

/** Ends Remus once the guest has paused often enough; returns what the guest said meanwhile. */
async function remusTurn(host: XenHost, console: GuestConsole, to: string, epochs: number): Promise<string> {
  const before = console.text.length;
  const remus = host.start(`echo $$ > /run/remus; exec ${REMUS} ${to}`);
  const deadline = Date.now() + LIMIT_MS;
  while (pausesIn(console.text.slice(before)).length < epochs) {
    if (host.ended(remus) || Date.now() > deadline)
      throw new Error(`xl remus came to no ${epochs} checkpoints:\n${host.output(remus)}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  const said = console.text.slice(before);
  await host.run('kill -INT $(cat /run/remus)');
  await host.finished(remus);
  return said;
}

/** What Remus sends to a receiver that takes everything. */
async function remusStream(
  host: XenHost,
  console: GuestConsole,
  epochs: number,
): Promise<{ pages: number; bytes: number }[]> {
  const receiver = ['#!/bin/sh', 'echo "xl migration receiver ready, send binary domain data."'];
  receiver.push('exec cat > /root/out/stream');
  await host.run(`printf '%s\\n' '${receiver.join("' '")}' > /root/receiver; chmod +x /root/receiver`);
  await remusTurn(host, console, '-s /root/receiver guest nowhere', epochs);
  const said = await host.run('node stream.mjs /root/out/stream; rm /root/out/stream', LIMIT_MS);
  return JSON.parse(said) as { pages: number; bytes: number }[];
}

function pausesIn(said: string): RegExpMatchArray[] {
  return [...said.matchAll(/pause ([\d.]+) ([-\d.]+)\r?\n/g)];
}
