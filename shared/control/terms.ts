/** What a node must never forget about a VM: the highest term it has seen, and whether it is the primary in it. */

import { mkdir, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { crashPoint } from '../crash-point.ts';
import { syncDirectory, writeDurably } from '../durable-file.ts';
import { RomulusError } from '../errors.ts';
import type { Epoch } from '../vm.ts';

export interface TermRecord {
  /** Highest term seen in any message or register; 0 before the first. */
  term: number;
  /** 'primary': this node was given the VM in this term and may have run it; its copy is no standby image. */
  role: 'primary' | 'backup';
  /** Epoch from which the primary's run started. */
  epoch: Epoch;
}

const nothingSeen: TermRecord = { term: 0, role: 'backup', epoch: 0 };

/** One file of two lines, JSON and its CRC-32; replaced atomically and fsynced before any call returns. */
export class TermFile {
  private readonly path: string;
  private record: TermRecord;

  private constructor(path: string, record: TermRecord) {
    this.path = path;
    this.record = record;
  }

  /** A file that is not there reads as term 0; one that fails its checksum throws TERM_CORRUPT. */
  static async open(path: string): Promise<TermFile> {
    await mkdir(dirname(path), { recursive: true });
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    return new TermFile(path, text === undefined ? nothingSeen : parse(text, path));
  }

  get current(): TermRecord {
    return this.record;
  }

  /** Resolves once the record would survive a power cut. Throws TERM_STALE for a term below the present one. */
  async save(next: TermRecord): Promise<void> {
    if (next.term < this.record.term) {
      throw new RomulusError(
        'TERM_STALE',
        `Term ${next.term} is over: this node has seen ${this.record.term}.`,
        {
          hint: 'romulus status shows which host owns the VM now',
        },
      );
    }
    const body = JSON.stringify({ term: next.term, role: next.role, epoch: next.epoch });
    const draft = `${this.path}.new`;
    await writeDurably(draft, `${body}\n${crc32(body)}\n`);
    crashPoint('terms-before-rename');
    await rename(draft, this.path);
    crashPoint('terms-after-rename');
    await syncDirectory(dirname(this.path));
    this.record = next;
  }
}

function parse(text: string, path: string): TermRecord {
  const [body = '', sum] = text.split('\n');
  if (String(crc32(body)) !== sum) {
    throw new RomulusError(
      'TERM_CORRUPT',
      `${path} fails its checksum, so this node no longer knows its term.`,
      {
        hint: `Make sure the VM runs on no other host, remove ${path}, then resync this host: romulus resync VM`,
      },
    );
  }
  const { term, role, epoch } = JSON.parse(body) as TermRecord;
  return { term, role, epoch };
}
