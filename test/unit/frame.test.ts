import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CHUNK_HEADROOM_BYTES, engine } from '../../native/index.ts';
import { MAX_FRAME_BYTES, MAX_HEAD_BYTES } from '../../shared/limits.ts';
import { decodeFrame, encodeFrame, frameLengthAt, PREFIX_BYTES } from '../../shared/wire/frame.ts';

const code = (thrown: () => unknown): string => {
  try {
    thrown();
  } catch (error) {
    return (error as { code: string }).code;
  }
  return 'nothing was thrown';
};

function withPayload(payload: Buffer, headroom = CHUNK_HEADROOM_BYTES) {
  const buffer = Buffer.concat([Buffer.alloc(headroom), payload]);
  return { buffer, offset: headroom, bytes: payload.length, crc32c: engine().crc32c(payload) };
}

describe('a frame', () => {
  it('comes back as it was sent, whatever its head and payload', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 255 }),
        fc.nat(2 ** 31),
        fc.dictionary(fc.stringMatching(/^[a-z]{1,8}$/), fc.oneof(fc.nat(), fc.string(), fc.constant(null))),
        fc.uint8Array({ maxLength: 5000 }),
        fc.boolean(),
        (kind, sequence, head, payload, roomy) => {
          const bytes = Buffer.from(payload);
          const frame = encodeFrame(kind, sequence, head, withPayload(bytes, roomy ? 4096 : 0));
          const back = decodeFrame(Buffer.from(frame));
          expect(back).toMatchObject({ kind, sequence, head: { ...head } });
          expect(back.payload.equals(bytes)).toBe(true);
          expect(frameLengthAt(frame, 0)).toBe(frame.length);
        },
      ),
    );
  });

  it('lies right before its payload, so that the payload is not moved', () => {
    const payload = withPayload(Buffer.from('page data'));
    const frame = encodeFrame(4, 0, { epoch: 1 }, payload);
    expect(frame.buffer).toBe(payload.buffer.buffer);
  });

  it('is refused with any one bit flipped', () => {
    const frame = encodeFrame(5, 7, { epoch: 9, digest: 'abc' }, withPayload(Buffer.from('some page data')));
    for (let bit = 0; bit < frame.length * 8; bit++) {
      const damaged = Buffer.from(frame);
      damaged[bit >> 3] = (damaged[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(
        code(() => decodeFrame(damaged)),
        `bit ${bit}`,
      ).toMatch(/^WIRE_/);
    }
  });

  it('is refused when cut off at any byte', () => {
    const frame = encodeFrame(5, 7, { epoch: 9 }, withPayload(Buffer.from('some page data')));
    for (let length = 0; length < frame.length; length++) {
      expect(code(() => decodeFrame(frame.subarray(0, length)))).toBe('WIRE_FRAME');
    }
  });

  it('never throws anything but a wire error at garbage', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.boolean(), (bytes, plausible) => {
        const garbage = Buffer.from(bytes);
        if (plausible && garbage.length >= PREFIX_BYTES) {
          garbage.set([0x52, 0x4d, 1, 4], 0);
          garbage.writeUInt32LE(garbage.length - PREFIX_BYTES, 4);
          garbage.writeUInt32LE(0, 8);
        }
        expect(code(() => decodeFrame(garbage))).toMatch(/^WIRE_/);
      }),
      { numRuns: 2000 },
    );
  });

  it('is refused over a limit, by the sender and by the receiver', () => {
    const large = withPayload(Buffer.alloc(MAX_FRAME_BYTES));
    expect(code(() => encodeFrame(4, 0, {}, large))).toBe('WIRE_LIMIT');
    expect(code(() => encodeFrame(4, 0, { text: 'x'.repeat(MAX_HEAD_BYTES) }))).toBe('WIRE_LIMIT');
    expect(code(() => decodeFrame(Buffer.alloc(MAX_FRAME_BYTES + 1)))).toBe('WIRE_LIMIT');
  });

  it('of another version is told apart from damage', () => {
    const frame = Buffer.from(encodeFrame(1, 0, {}));
    frame.writeUInt8(9, 2);
    expect(code(() => decodeFrame(frame))).toBe('WIRE_VERSION');
  });
});
