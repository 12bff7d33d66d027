/**
 * A warm Xen standby: the domain stands built and paused in Xen's own Remus receiver, which is fed each applied epoch as a
 * checkpoint; failover is one record more.
 *
 * The receiver would let the guest run at the end of its input, so that the death of this agent would start a second copy
 * of it. Therefore its input is a FIFO that it holds open for writing itself: the end never comes, and only goOn() lets
 * the guest run.
 */

import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { RomulusError } from '../../shared/errors.ts';
import { unpackXenState } from '../../shared/hypervisor/xen-state.ts';
import { checkpoint, goOn, pageRecords, streamStart } from '../../shared/hypervisor/xen-stream.ts';
import { domainNumber, xl } from '../../shared/hypervisor/xl.ts';
import type { FollowedImage, HeldImage } from '../image/followed-image.ts';
import { copier, ImageCopy } from '../image/image-copy.ts';

/** Epochs wait for the receiver; one that takes nothing for so long is given up instead. */
const FEED_LIMIT_MS = 30_000;
/** From the last record to a running domain: a second on hardware, with what lies unread in pipes before it. */
const GO_ON_LIMIT_MS = 120_000;
/** Of what xl printed, the end is told: that is where it says why. */
const MAX_SAID_LENGTH = 2000;

/** Xen dismantles a domain step by step after `destroy` has returned. */
const DESTROY_POLL_MS = 100;

const run = promisify(execFile);

export class WarmDomain {
  readonly #name: string;
  readonly #receiver: ChildProcess;
  readonly #exited: Promise<number | null>;
  readonly #input: WriteStream;
  readonly #logPath: string;
  readonly #copy: ImageCopy;
  #writing: Promise<void> = Promise.resolve();
  #whole = false;
  #failure: Error | undefined;

  /** Ends what a predecessor left, starts the receiver and feeds it beside the epochs, from the first one on. */
  static async start(name: string, image: FollowedImage, runDir: string): Promise<WarmDomain> {
    await removeIncoming(name, runDir);
    await run('mkfifo', ['-m', '600', fifoIn(runDir)]);
    return new WarmDomain(name, image, runDir);
  }

  private constructor(name: string, image: FollowedImage, runDir: string) {
    this.#name = name;
    this.#logPath = join(runDir, 'receiver.log');
    const command = 'echo $$ > "$0"; exec xl migrate-receive -e -r <> "$1" > "$2" 2>&1';
    const args = ['-c', command, pidFileIn(runDir), fifoIn(runDir), this.#logPath];
    this.#receiver = spawn('sh', args, { detached: true, stdio: 'ignore' });
    this.#receiver.unref();
    this.#exited = once(this.#receiver, 'exit').then(([status]) => status as number | null);
    void this.#exited.then((status) => this.#fail(new Error(`xl migrate-receive ended with ${status}`)));
    this.#input = createWriteStream(fifoIn(runDir));
    this.#input.on('error', (error) => this.#fail(error));
    this.#copy = new ImageCopy(image, (held) => this.#applied(held));
    void this.#build().catch((error: Error) => this.#fail(error));
  }

  /** True once the domain stands whole at the image's newest epoch. */
  get whole(): boolean {
    return this.#whole && this.#failure === undefined;
  }

  get alive(): boolean {
    return this.#failure === undefined;
  }

  /** Lets the domain run from the last checkpoint fed; resolves when it does. HV_START with what xl said last. */
  async goOn(): Promise<void> {
    this.#copy.end();
    this.#write([goOn()]);
    await this.#writing;
    const status = await Promise.race([this.#exited, delay(GO_ON_LIMIT_MS, undefined, { ref: false })]);
    if (status === 0 && (await domainNumber(this.#name)) !== undefined) return;
    const said = (await readFile(this.#logPath, 'utf8').catch(() => '')).slice(-MAX_SAID_LENGTH).trim();
    throw new RomulusError('HV_START', `xl migrate-receive of ${this.#name} failed: ${said}`, {
      hint: 'xl dmesg | tail',
    });
  }

  /** Ends the receiver, then the domain it was building. */
  async stop(runDir: string): Promise<void> {
    this.#copy.end();
    this.#fail(new Error('stopped'));
    this.#receiver.kill('SIGKILL');
    this.#input.destroy();
    await removeIncoming(this.#name, runDir);
  }

  /** The agent ends in good order; the next one rebuilds the domain. */
  release(): void {
    this.#copy.end();
    this.#fail(new Error('the agent has let go'));
    this.#input.destroy();
  }

  /** Feeds all pages in rounds beside the epochs; the last round is a checkpoint. */
  #build(): Promise<void> {
    let started = false;
    return this.#copy.run(
      (held, runs, last) => {
        const state = unpackXenState(held.state);
        const head = started ? [] : [...streamStart(state)];
        started = true;
        const pages = last ? checkpoint : pageRecords;
        this.#write([...head, ...pages(state, copier(held), runs)]);
        this.#whole = last;
      },
      () => this.#writing,
    );
  }

  async #applied(held: HeldImage): Promise<void> {
    if (!this.#whole || !this.alive) return;
    try {
      this.#write([...checkpoint(unpackXenState(held.state), copier(held), this.#copy.take())]);
      await this.#writing;
    } catch (thrown) {
      this.#fail(thrown as Error); // the image itself is sound: a cold start needs no receiver
    }
  }

  /** Behind what is being written already; `#writing` tells when it is done. */
  #write(pieces: readonly Buffer[]): void {
    this.#writing = this.#writing.then(async () => {
      for (const piece of pieces) {
        if (this.#failure !== undefined) throw this.#failure;
        if (!this.#input.write(piece)) await this.#drained();
      }
    });
    this.#writing.catch(() => {}); // whoever waits for it is told
  }

  async #drained(): Promise<void> {
    const stuck = setTimeout(() => {
      this.#fail(new Error('xl migrate-receive takes nothing any more'));
      this.#receiver.kill('SIGKILL');
    }, FEED_LIMIT_MS);
    await Promise.race([once(this.#input, 'drain'), this.#exited]);
    clearTimeout(stuck);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
  }
}

/**
 * Ends a receiver that this or a killed agent started, and then its domain: never the other way round. Returns whether
 * there was such a domain, which therefore has not run here.
 */
export async function removeIncoming(name: string, runDir: string): Promise<boolean> {
  await killReceiver(pidFileIn(runDir));
  const incoming = incomingName(name);
  const found = (await domainNumber(incoming)) !== undefined;
  for (let there = found; there; there = (await domainNumber(incoming)) !== undefined) {
    await xl('destroy', incoming).catch(() => undefined); // it may be gone by now, which the loop sees
    await delay(DESTROY_POLL_MS);
  }
  for (const path of [fifoIn(runDir), pidFileIn(runDir)]) await rm(path, { force: true });
  return found;
}

/** What Xen calls a domain until it goes on. */
export function incomingName(name: string): string {
  return `${name}--incoming`;
}

async function killReceiver(pidFile: string): Promise<void> {
  const pid = Number(await readFile(pidFile, 'utf8').catch(() => ''));
  while (pid > 0) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '');
    if (!command.includes('migrate-receive')) return; // gone, or a number given out again
    process.kill(pid, 'SIGKILL');
    await delay(DESTROY_POLL_MS);
  }
}

function fifoIn(runDir: string): string {
  return join(runDir, 'receiver.fifo');
}

function pidFileIn(runDir: string): string {
  return join(runDir, 'receiver.pid');
}
