import { execFile } from 'node:child_process';
import { createRequire } from 'node:module';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { engine } from '../../native/index.ts';
import { crcOracle } from './engine-oracle.ts';

const addonPath = createRequire(import.meta.url).resolve('../../native/build/Release/engine.node');

/** Replicates seeded random epochs in a process of its own and prints a digest of every payload, image and counter. */
const script = `
  const { createHash } = require('node:crypto');
  const native = require(process.argv[1]);
  let state = Number(process.argv[2]);
  const random = (bound) => ((state = (Math.imul(state, 1664525) + 1013904223) >>> 0) >>> 8) % bound;
  const pages = 500, bytes = pages * 4096;
  const [memory, shadow, image] = [0, 1, 2].map(() => native.anonymousMemory(bytes));
  const encoder = native.createEncoder({ memory, shadow, threads: 1 });
  const dirty = native.createBitmap(pages);
  const hash = createHash('sha256');
  (async () => {
    for (let epoch = 0; epoch < 20; epoch++) {
      for (let i = random(400); i >= 0; i--) {
        const page = random(pages), length = random(5) === 0 ? 4096 : 1 + random(64);
        memory.write(page * 4096 + random(4097 - length), Buffer.alloc(length, random(4) === 0 ? 0 : random(256)));
        dirty.set(page);
      }
      const { chunks, scanNs, encodeNs, ...counts } = await encoder.encode(dirty);
      const payloads = chunks.map((c) => c.buffer.subarray(256, 256 + c.payloadBytes));
      const { digestDelta } = await native.applyPayloads(image, payloads, 1);
      for (const payload of payloads) hash.update(payload);
      hash.update(JSON.stringify(counts)).update(String(digestDelta)).update(String(encoder.digest));
      for (const { slab } of chunks) encoder.release(slab);
    }
    hash.update(image.read(0, bytes)).update(String(await native.digestOf(image, 1)));
    console.log(JSON.stringify({ kernel: native.cpu().kernels.delta, hash: hash.digest('hex') }));
  })();
`;

async function replicateAt(level: string, seed: number): Promise<{ kernel: string; hash: string }> {
  const env = { ...process.env, ROMULUS_CPU: level };
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', script, addonPath, String(seed)], {
    env,
  });
  return JSON.parse(stdout);
}

describe('the instruction sets', () => {
  it.each([1, 2, 3])('agree bit for bit on payloads, image and digest (seed %i)', async (seed) => {
    const portable = await replicateAt('portable', seed);
    expect(portable.kernel).toBe('portable');
    for (const level of ['avx2', 'avx512']) expect((await replicateAt(level, seed)).hash).toBe(portable.hash);
  });

  it('give the CRC-32C of the definition', () => {
    expect(engine().crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 9000, size: 'max' }), (data) => {
        expect(engine().crc32c(data)).toBe(crcOracle(data));
      }),
      { numRuns: 50 },
    );
  });
});
