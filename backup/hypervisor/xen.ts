/**
 * A Xen host as the backup of a Xen guest. Warm, the domain stands built and only has to be let go on; where that fails, the
 * standby image and state become a stream that `xl restore` takes.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { xenBinding } from '../../native/xen/index.ts';
import { RomulusError } from '../../shared/errors.ts';
import { missingFeatures } from '../../shared/hypervisor/cpu-policy.ts';
import { installedModelVersion, sameSeries } from '../../shared/hypervisor/qemu-version.ts';
import { PAGES_PER_RECORD } from '../../shared/hypervisor/xen-records.ts';
import { unpackXenState } from '../../shared/hypervisor/xen-state.ts';
import { type ReadPages, saveFile } from '../../shared/hypervisor/xen-stream.ts';
import { domainNumber, parseHostInfo, xl } from '../../shared/hypervisor/xl.ts';
import { type Geometry, PAGE_BYTES, type VmSpec } from '../../shared/vm.ts';
import type { StandbyFiles, Target } from './target.ts';
import { incomingName, removeIncoming, WarmDomain } from './xen-warm.ts';

/** Xen's own overhead beside the guest's memory: page tables, shadow pool, structures. */
const DOMAIN_OVERHEAD_BYTES = 16 * 1024 * 1024;
/** Of what xl prints, the end is kept: that is where it says why. */
const MAX_SAID_LENGTH = 2000;
/** A receiver that ends this often before it is whole will not be tried again: the standby stays cold. */
const MAX_WARM_ATTEMPTS = 3;

export class XenTarget implements Target {
  readonly kind = 'xen';
  readonly #spec: VmSpec;
  #files: StandbyFiles | undefined;
  #started = false;
  #warm: WarmDomain | undefined;
  #warmAttempts = 0;

  constructor(spec: VmSpec) {
    this.#spec = spec;
  }

  async check(spec: VmSpec, geometry: Geometry): Promise<void> {
    const { release, freeBytes } = parseHostInfo(await xl('info'));
    const here = `xen ${release}`;
    if (here !== geometry.hypervisor)
      throw new RomulusError(
        'HV_UNSUPPORTED',
        `the guest runs on ${geometry.hypervisor}, this host is ${here}`,
        {
          hint: 'run the same Xen release on both hosts',
        },
      );
    // A primary that comes back finds the memory taken by its own standby.
    const standing = (await domainNumber(incomingName(spec.name))) !== undefined;
    if (!standing && freeBytes < geometry.ramBytes + DOMAIN_OVERHEAD_BYTES)
      throw new RomulusError(
        'HV_UNSUPPORTED',
        `${spec.name} needs ${geometry.ramBytes} bytes of memory, Xen here has ${freeBytes} free`,
        { hint: 'xl mem-set Domain-0 SMALLER' },
      );
    await this.#refuseNameClash(spec);
    if (geometry.deviceModel !== undefined) await refuseForeignModel(spec.name, geometry.deviceModel);
    if (geometry.cpuPolicy !== undefined) await refuseForeignCpu(spec.name, geometry.cpuPolicy);
  }

  async prepare(_spec: VmSpec, files: StandbyFiles): Promise<void> {
    this.#files = files;
    this.#started = await this.#running();
    await this.#warm?.stop(files.runDir);
    this.#warm = undefined;
    if (this.#started || files.image === undefined || this.#warmAttempts >= MAX_WARM_ATTEMPTS) return;
    this.#warmAttempts += 1;
    this.#warm = await WarmDomain.start(this.#spec.name, files.image, files.runDir);
  }

  async start(statePath: string): Promise<void> {
    const spec = this.#spec;
    const files = this.#files;
    if (files === undefined) throw new RomulusError('INTERNAL', 'the Xen target is not prepared');
    await this.#refuseNameClash(spec);
    if (await this.#goOnWarm(files.runDir)) return;
    const state = unpackXenState(await readFile(statePath));
    const image = openSync(files.imagePath, 'r');
    try {
      await restore(spec.name, Readable.from(saveFile(state, imageReader(image)), { objectMode: false }));
      this.#started = true;
    } finally {
      closeSync(image);
    }
  }

  /** False where no warm domain stood, or it did not go on: nothing of it is left then. */
  async #goOnWarm(runDir: string): Promise<boolean> {
    const warm = this.#warm;
    if (warm?.whole) {
      try {
        await warm.goOn();
        this.#warm = undefined;
        this.#started = true;
        return true;
      } catch {
        // the cold way is slower, and says itself why if it fails too
      }
    }
    await warm?.stop(runDir);
    this.#warm = undefined;
    return false;
  }

  async release(): Promise<void> {
    this.#warm?.release();
  }

  async stop(): Promise<void> {
    if (this.#files !== undefined) await this.#warm?.stop(this.#files.runDir);
    this.#warm = undefined;
    if (this.#started && (await this.#running())) await xl('destroy', this.#spec.name);
    this.#started = false;
  }

  /** A cold standby is files only, and files do not die. */
  async alive(): Promise<boolean> {
    if (this.#started) return this.#running();
    if (this.#warm?.whole) this.#warmAttempts = 0;
    return this.#warm === undefined || this.#warm.alive;
  }

  /** A warm domain that waits has not run: it is given up for image and state, which are as new. */
  async takeUp(_spec: VmSpec, files: StandbyFiles): Promise<'gone' | 'waiting' | 'running'> {
    this.#files = files;
    this.#started = await this.#running();
    if (this.#started) return 'running';
    return (await removeIncoming(this.#spec.name, files.runDir)) ? 'waiting' : 'gone';
  }

  async #running(): Promise<boolean> {
    return (await domainNumber(this.#spec.name)) !== undefined;
  }

  async #refuseNameClash(spec: VmSpec): Promise<void> {
    if ((await domainNumber(spec.name)) === undefined) return;
    throw new RomulusError('VM_BUSY', `this Xen host already runs a domain ${spec.name}`, {
      hint: `xl rename ${spec.name} ${spec.name}-old`,
    });
  }
}

/** The device model is started only when the guest goes on here: that it is missing must be known before. */
async function refuseForeignModel(name: string, needed: string): Promise<void> {
  const here = await installedModelVersion();
  if (here !== undefined && sameSeries(here, needed)) return;
  throw new RomulusError(
    'HV_UNSUPPORTED',
    `the device model of ${name} is ${needed}, this host has ${here ?? 'none'}`,
    { hint: 'apt-get install qemu-system-xen; both hosts need the same QEMU series' },
  );
}

/** A guest keeps the processors it started with; here they must not have less. */
async function refuseForeignCpu(name: string, guest: { leaves: string; msrs: string }): Promise<void> {
  const leaves = Buffer.from(guest.leaves, 'base64');
  const host = await xenBinding().hostPolicy(leaves, Buffer.from(guest.msrs, 'base64'));
  const missing = missingFeatures(leaves, host.leaves);
  if (host.takesGuest && missing.length === 0) return;
  const lacks = missing.join(', ') || 'what Xen compares';
  throw new RomulusError('HV_UNSUPPORTED', `the processors of this host lack what ${name} has: ${lacks}`, {
    hint: `start ${name} with a cpuid= that both hosts have`,
  });
}

/** Reads page runs of an open image, up to a record's worth at a time, each into a buffer of its own. */
export function imageReader(image: number): ReadPages {
  return (page, pages) => {
    if (pages > PAGES_PER_RECORD) throw new RomulusError('INTERNAL', 'a page run exceeds a record');
    const buffer = Buffer.allocUnsafe(pages * PAGE_BYTES);
    const read = readSync(image, buffer, 0, buffer.length, page * PAGE_BYTES);
    if (read !== buffer.length)
      throw new RomulusError('IMAGE_CORRUPT', 'the standby image is shorter than the guest', {
        hint: 'romulus resync VM',
      });
    return buffer;
  };
}

/** Feeds a save file to `xl restore`; resolves when the domain runs. HV_START with what xl said last, or what the stream threw. */
async function restore(name: string, stream: Readable): Promise<void> {
  // cat: Node's end is a socket, and what xl opens by name must be a pipe.
  const child = spawn('sh', ['-c', 'cat | xl restore /dev/stdin'], { stdio: ['pipe', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-MAX_SAID_LENGTH);
  });
  // Not 'close': xl leaves a process behind that watches the domain and may keep our pipe open.
  const exited = once(child, 'exit') as Promise<[number | null]>;
  const [fed, [status]] = await Promise.all([
    pipeline(stream, child.stdin).catch((thrown: unknown) => thrown),
    exited,
  ]);
  if (fed instanceof RomulusError) throw fed;
  if (status === 0) return;
  if (!child.stderr.readableEnded) await once(child.stderr, 'end');
  throw new RomulusError('HV_START', `xl restore of ${name} failed: ${said.trim()}`, {
    hint: 'xl dmesg | tail',
  });
}
