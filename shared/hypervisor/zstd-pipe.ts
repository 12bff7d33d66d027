/** Debian's `zstd` as a child process: unpacks a file into exact reads, packs writes into a file. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { RomulusError } from '../errors.ts';

/** What of the child's complaints is kept for the error message. */
const MAX_COMPLAINT_CHARS = 500;

function complaintOf(child: ChildProcess): () => string {
  let text = '';
  child.stderr?.on('data', (data: Buffer) => {
    text = (text + data.toString('utf8')).slice(0, MAX_COMPLAINT_CHARS);
  });
  return () => text.trim().replaceAll('\n', '; ');
}

/** Resolves with the exit code; a missing program is an error that names the package. */
function ending(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('error', (cause) =>
      reject(
        new RomulusError('PREREQUISITE', `cannot run zstd: ${cause.message}`, {
          hint: 'apt-get install -y zstd',
          cause,
        }),
      ),
    );
    child.once('close', (code) => resolve(code));
  });
}

/** A file being unpacked; reads are exact and take no more memory than their own buffer and one pipe's worth. */
export class ZstdSource {
  readonly #child: ChildProcess;
  readonly #pieces: AsyncIterator<Buffer>;
  readonly #ended: Promise<number | null>;
  readonly #complaint: () => string;
  #rest: Buffer = Buffer.alloc(0);

  constructor(path: string) {
    this.#child = spawn('zstd', ['-dcq', '--long=30', '--', path], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#complaint = complaintOf(this.#child);
    this.#ended = ending(this.#child);
    this.#ended.catch(() => {}); // told by the read that finds the stream ended
    if (this.#child.stdout === null) throw new RomulusError('INTERNAL', 'zstd has no output');
    this.#pieces = this.#child.stdout[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  /** Fills `into` from its start; returns how many bytes there were: fewer only at the end of the stream. */
  async fill(into: Uint8Array): Promise<number> {
    let filled = 0;
    while (filled < into.length) {
      if (this.#rest.length === 0) {
        const { value, done } = await this.#pieces.next();
        if (done) return filled;
        this.#rest = value;
      }
      const taken = Math.min(this.#rest.length, into.length - filled);
      into.set(this.#rest.subarray(0, taken), filled);
      this.#rest = this.#rest.subarray(taken);
      filled += taken;
    }
    return filled;
  }

  /** Why the stream ended: undefined when zstd was content with the file. Call it after fill() came short. */
  async failure(): Promise<string | undefined> {
    return (await this.#ended) === 0 ? undefined : this.#complaint();
  }

  async close(): Promise<void> {
    this.#child.kill('SIGKILL');
    this.#child.stdout?.destroy(); // what nobody reads would keep the child from closing
    await this.#ended.catch(() => {});
  }
}

/** A file being packed; write() holds back the writer when zstd falls behind. */
export class ZstdSink {
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;
  readonly #complaint: () => string;
  readonly #path: string;

  constructor(path: string, level = 3) {
    this.#path = path;
    this.#child = spawn('zstd', [`-${level}`, '-qf', '-o', path], { stdio: ['pipe', 'ignore', 'pipe'] });
    this.#complaint = complaintOf(this.#child);
    this.#ended = ending(this.#child);
    this.#ended.catch(() => {}); // told by write() or finish()
    this.#child.stdin?.on('error', () => {}); // an end too early is told by its exit code
  }

  async write(data: Uint8Array): Promise<void> {
    const { stdin } = this.#child;
    if (stdin === null) throw new RomulusError('INTERNAL', 'zstd has no input');
    if (stdin.write(data)) return;
    await Promise.race([once(stdin, 'drain'), this.#ended]);
    if (stdin.destroyed) await this.finish();
  }

  /** Resolves once the file is whole. */
  async finish(): Promise<void> {
    this.#child.stdin?.end();
    if ((await this.#ended) === 0) return;
    throw new RomulusError('IMAGE_IO', `cannot write ${this.#path}: ${this.#complaint()}`, {
      hint: 'df -h shows whether its disk is full',
    });
  }
}
