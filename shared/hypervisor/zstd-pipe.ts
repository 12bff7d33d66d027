/** Debian's `zstd` as a child process that packs what is written into a file. */

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
