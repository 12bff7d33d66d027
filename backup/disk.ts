/** A standby's disk: an epoch's changes wait for its commit record, and reach the image with the guest's memory. */

import type { HostDisk } from '../shared/disk/host-disk.ts';
import { RomulusError } from '../shared/errors.ts';
import type { DiskAnswer, DiskOffer } from '../shared/wire/disk-messages.ts';

export class StandbyDisk {
  readonly #host: HostDisk;
  /** The pair this lineage makes, until its first commit. */
  #nextPair: string | undefined;
  /** Until the first epoch is applied, blocks may differ that no payload of it names. */
  #syncing = false;

  constructor(host: HostDisk) {
    this.#host = host;
  }

  /**
   * A new lineage begins: the two disks are a pair if both were, with each other; from here on only the primary's map and
   * this one together tell what differs. WIRE_GEOMETRY when this disk is of another size.
   */
  beginSync(offer: DiskOffer): { answer: DiskAnswer; dirtyBits: Buffer } {
    const { disk, path } = this.#host;
    if (disk.sizeBytes !== offer.sizeBytes) {
      throw new RomulusError(
        'WIRE_GEOMETRY',
        `the primary's disk has ${offer.sizeBytes} bytes, ${path} has ${disk.sizeBytes}`,
        { hint: `make ${path} of the same size, or remove it: it is then made anew` },
      );
    }
    this.#host.setWritable(false);
    const pair = disk.pair();
    const fits = pair !== '' && pair === offer.pair;
    // What is about to be overwritten is no half of any older pair.
    if (!fits) disk.setPair('');
    this.#nextPair = fits ? undefined : offer.nextPair;
    this.#syncing = true;
    return { answer: { pair: fits ? pair : '' }, dirtyBits: disk.dirtyBits() };
  }

  /** Checks a payload and notes its blocks, before anything of it is acknowledged. WIRE_FRAME if it does not fit this disk. */
  async expect(payload: Buffer): Promise<void> {
    try {
      await this.#host.disk.expect(payload);
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EBADMSG') throw failed(this.#host.path, cause);
      throw new RomulusError('WIRE_FRAME', 'malformed chunk: its payload does not fit the disk', { cause });
    }
  }

  /** Just before an epoch's commit record is written: with the first, the two disks are a pair. */
  committing(): void {
    if (this.#nextPair === undefined) return;
    this.#host.disk.setPair(this.#nextPair);
    this.#nextPair = undefined;
  }

  /** Writes payloads into the image, in order; once the first epoch of the lineage is in, they no longer differ. */
  async apply(payloads: Buffer[]): Promise<void> {
    if (payloads.length === 0) return;
    this.#host.touch();
    try {
      await this.#host.disk.apply(payloads);
    } catch (cause) {
      throw failed(this.#host.path, cause);
    }
    if (!this.#syncing) this.#host.disk.clearDirty(payloads);
  }

  /** Image and memory hold a committed epoch: with the first of a lineage, the whole disk is the primary's. */
  applied(): void {
    if (this.#syncing) this.#host.disk.clearDirty();
    this.#syncing = false;
  }

  /** Committed epochs were lost with the memory image: this disk is no half of a pair any more. */
  forget(): void {
    this.#host.disk.setPair('');
    this.#host.disk.markAllDirty();
  }

  /** The guest runs here from now on: its writes count. */
  promote(): void {
    this.#host.setWritable(true);
  }
}

function failed(path: string, cause: unknown): RomulusError {
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new RomulusError('IMAGE_FULL', `cannot write the disk ${path}: no space left`, {
      hint: 'free space there: df -h',
      cause,
    });
  }
  return new RomulusError('IMAGE_IO', `cannot write the disk ${path}: ${message}`, {
    hint: 'see dmesg for errors of that disk',
    cause,
  });
}
