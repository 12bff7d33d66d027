/** A standby whose agent died in the middle of an epoch with copies: the journal makes it whole, wherever it stopped. */

import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { emptyEpoch, type StagedEpoch, StandbyImage } from '../../backup/image/standby-image.ts';
import { CHUNK_HEADROOM_BYTES, engine } from '../../native/index.ts';
import { encodeFrame, framed } from '../../shared/wire/frame.ts';
import { type Chunk, Codec, type Commit, digestHex, Kind, Region } from '../../shared/wire/messages.ts';
import { random } from '../support/random.ts';

const PAGES = 400;
const PAGE = 4096;
const RAM_BYTES = PAGES * PAGE;

describe('a standby whose agent died while it applied copies', () => {
  const native = engine();
  let dir: string;
  let image: StandbyImage;
  const open = () => new StandbyImage({ dir: join(dir, 'image'), threads: 2, durability: 'memory' });

  beforeEach(() => {
    dir = mkdtempSync('/dev/shm/romulus-copies-');
    image = open();
    image.create('lineage', RAM_BYTES);
  });
  afterEach(() => {
    image.close();
    rmSync(dir, { recursive: true, force: true });
  });

  /** A guest whose pages wander: `next` gives the payloads of its next epoch, and the commit that follows them. */
  function wanderingGuest(seed: number) {
    const number = random(seed);
    const memory = native.anonymousMemory(RAM_BYTES);
    const shadow = native.anonymousMemory(RAM_BYTES);
    const encoder = native.createEncoder({ memory, shadow, threads: 1 });
    const dirty = native.createBitmap(PAGES);
    const fill = (page: number, bytes: number) => {
      memory.write(page * PAGE, Buffer.from(Array.from({ length: bytes }, () => Math.floor(number() * 256))));
      dirty.set(page, Math.ceil(bytes / PAGE));
    };
    for (let page = 0; page < 100; page += 10) fill(page, 10 * PAGE);
    let epoch = 0;
    let copiedPages = 0;
    async function next(): Promise<{ payloads: Buffer[]; commit: Commit }> {
      for (let move = 0; epoch > 0 && move < 40; move++) {
        const [from, to] = [Math.floor(number() * (PAGES - 2)), Math.floor(number() * (PAGES - 2))];
        memory.write(to * PAGE + 8 * (move % 3), memory.read(from * PAGE, PAGE));
        dirty.set(to, 2);
        fill(Math.floor(number() * PAGES), 40);
      }
      const result = await encoder.encode(dirty, 'bytes', true);
      copiedPages += result.copiedPages;
      const payloads = result.chunks.map(({ buffer, payloadBytes, slab }) => {
        encoder.release(slab);
        return Buffer.from(buffer.subarray(CHUNK_HEADROOM_BYTES, CHUNK_HEADROOM_BYTES + payloadBytes));
      });
      epoch += 1;
      const digests = { digest: digestHex(encoder.digest), stateDigest: digestHex(0n) };
      const head = { term: 1, epoch, previous: epoch - 1, sentMs: 0, chunks: payloads.length, stateBytes: 0 };
      return { payloads, commit: { ...head, ...digests } };
    }
    return { memory, next, copiedPages: () => copiedPages };
  }

  /** Staged and committed as a receiver would. */
  async function commit(payloads: Buffer[], record: Commit): Promise<StagedEpoch> {
    const staged = emptyEpoch();
    for (const [i, payload] of payloads.entries()) {
      const { epoch } = record;
      const chunk: Chunk = { epoch, region: Region.ram, codec: Codec.none, rawBytes: payload.length };
      await image.journal.append(epoch, encodeFrame(Kind.chunk, i, chunk, framed(payload)));
      await image.stage(staged, chunk, Buffer.from(payload));
    }
    image.checkWhole(staged);
    await image.journal.append(record.epoch, encodeFrame(Kind.commit, payloads.length, record));
    image.commit(record.epoch);
    return staged;
  }

  it('is whole again after recovery, wherever it stopped', async () => {
    const guest = wanderingGuest(1);
    const number = random(2);
    for (let epoch = 1; epoch <= 12; epoch++) {
      const before = native.openMemory(image.ramPath, { sizeBytes: RAM_BYTES, writable: true });
      const old = before.read(0, RAM_BYTES);
      const { payloads, commit: record } = await guest.next();
      const staged = await commit(payloads, record);
      if (epoch % 2 === 1) await image.apply(staged, record);
      else {
        // More disorder than a kill leaves, since each part of an epoch waits for the one before: from some page on all is old.
        await native.applyPayloads(before, payloads, 1);
        const stop = Math.floor(number() * PAGES) * PAGE;
        before.write(stop, old.subarray(stop));
        image.close();
        image = open();
        await image.recover();
      }
      before.close();
      const now = native.openMemory(image.ramPath, { sizeBytes: RAM_BYTES });
      expect(await native.firstDifference(guest.memory, now, 1)).toBe(-1);
      now.close();
      const { expected, found } = await image.verify();
      expect(found).toBe(expected);
    }
    expect(guest.copiedPages()).toBeGreaterThan(50);
  });

  it('refuses an epoch with two payloads of copies before it is committed', async () => {
    const guest = wanderingGuest(3);
    const first = await guest.next();
    await image.apply(await commit(first.payloads, first.commit), first.commit);
    const [second, third] = [await guest.next(), await guest.next()];
    await expect(commit([...second.payloads, ...third.payloads], second.commit)).rejects.toMatchObject({
      code: 'WIRE_FRAME',
    });
    expect(image.committed).toBe(1);
  });
});
