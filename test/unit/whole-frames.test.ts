import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { MAX_FRAME_BYTES } from '../../shared/limits.ts';
import { releaseMessage, SLAB_BYTES, takeSlab } from '../../shared/wire/slabs.ts';
import { frameBytesAt, WholeFrames } from '../../shared/wire/whole-frames.ts';

/** A binary WebSocket frame of so many bytes of payload, masked with zeros as a client's. */
function webSocketFrame(payloadBytes: number, fill: number): Buffer {
  const payload = Buffer.alloc(payloadBytes, fill);
  const mask = Buffer.alloc(4);
  if (payloadBytes < 126) return Buffer.concat([Buffer.of(0x82, 0x80 | payloadBytes), mask, payload]);
  const long = payloadBytes >= 65_536;
  const length = Buffer.alloc(long ? 8 : 2);
  if (long) length.writeBigUInt64BE(BigInt(payloadBytes));
  else length.writeUInt16BE(payloadBytes);
  return Buffer.concat([Buffer.of(0x82, 0x80 | (long ? 127 : 126)), length, mask, payload]);
}

/** Lets the socket take at most so much with each read, as `reads` say in turn. */
function receive(frames: WholeFrames, stream: Buffer, reads: number[]): Buffer[] {
  const pieces: Buffer[] = [];
  let turn = 0;
  for (let at = 0; at < stream.length; turn++) {
    const room = frames.room();
    const bytes = stream.copy(room, 0, at, at + Math.min(reads[turn % reads.length] as number, room.length));
    expect(bytes).toBeGreaterThan(0);
    at += bytes;
    const whole = frames.took(bytes);
    if (whole !== undefined) pieces.push(whole);
  }
  return pieces;
}

/** Where each ends, when they follow each other. */
function endsOf(buffers: Buffer[]): number[] {
  let end = 0;
  return buffers.map((buffer) => {
    end += buffer.length;
    return end;
  });
}

describe('what a connection receives', () => {
  const payloads = fc.array(
    fc.oneof(
      fc.nat(200),
      fc.integer({ min: 10_000, max: 70_000 }),
      fc.integer({ min: 100_000, max: 1_200_000 }),
    ),
    { minLength: 1, maxLength: 12 },
  );
  const reads = fc.array(
    fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1000, max: 2_000_000 })),
    {
      minLength: 1,
      maxLength: 5,
    },
  );

  it('is handed on whole frame by whole frame, however it was read', () => {
    fc.assert(
      fc.property(payloads, reads, (sizes, atOnce) => {
        fc.pre(Math.max(...atOnce) >= 1000); // or a case takes seconds
        const sent = sizes.map((bytes, i) => webSocketFrame(bytes, i + 1));
        const pieces = receive(new WholeFrames(MAX_FRAME_BYTES), Buffer.concat(sent), atOnce);
        expect(endsOf(sent)).toEqual(expect.arrayContaining(endsOf(pieces)));
        expect(Buffer.concat(pieces).equals(Buffer.concat(sent))).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it('keeps what was handed on as it was, whatever comes after', () => {
    const frames = new WholeFrames(MAX_FRAME_BYTES);
    const sent = [300, 1_000_000, 20_000, 70_000, 5].map((bytes, i) => webSocketFrame(bytes, i + 1));
    const pieces = receive(frames, Buffer.concat(sent), [7000]);
    receive(frames, Buffer.concat(sent.map((frame) => Buffer.alloc(frame.length, 0x82))), [64_000]);
    expect(Buffer.concat(pieces).equals(Buffer.concat(sent))).toBe(true);
  });

  it('is passed on in pieces from a frame on that is over the limit, and no memory is taken for that', () => {
    const frames = new WholeFrames(1000);
    const small = webSocketFrame(900, 1);
    const large = webSocketFrame(500_000, 2);
    const stream = Buffer.concat([small, large]);
    const pieces = receive(frames, stream, [4000]);
    expect(pieces.length).toBeGreaterThan(stream.length / 16_384);
    expect(Buffer.concat(pieces).equals(stream)).toBe(true);
  });

  it('tells a frame by its header alone, and not before that is whole', () => {
    for (const bytes of [0, 125, 126, 65_535, 65_536]) {
      const frame = webSocketFrame(bytes, 0);
      const header = frame.length - 4 - bytes;
      expect(frameBytesAt(frame, 0, header)).toBe(frame.length);
      expect(frameBytesAt(frame, 0, header - 1)).toBe(0);
    }
  });
});

describe('a slab', () => {
  it('is given out again once its message is done with, and only once', () => {
    const slab = takeSlab(1_000_000);
    releaseMessage(slab.subarray(10, 20));
    releaseMessage(slab);
    expect(takeSlab(500_000).buffer).toBe(slab.buffer);
    expect(takeSlab(500_000).buffer).not.toBe(slab.buffer);
  });

  it('is not given out again unless somebody says that its message is done with', () => {
    const first = takeSlab(500_000);
    expect(takeSlab(500_000).buffer).not.toBe(first.buffer);
    releaseMessage(Buffer.alloc(5));
    expect(takeSlab(500_000).buffer).not.toBe(first.buffer);
  });

  it('is given up when it was spare for long', async () => {
    vi.useFakeTimers();
    vi.resetModules();
    const slabs = await import('../../shared/wire/slabs.ts'); // whose timer starts under this clock
    const first = slabs.takeSlab(500_000);
    slabs.releaseMessage(first);
    vi.advanceTimersByTime(5000);
    expect(slabs.takeSlab(500_000)).toBe(first);
    slabs.releaseMessage(first);
    vi.advanceTimersByTime(20_000);
    expect(slabs.takeSlab(500_000)).not.toBe(first);
    vi.useRealTimers();
  });

  it('of a larger message is its own', () => {
    const large = takeSlab(SLAB_BYTES + 1);
    releaseMessage(large);
    expect(takeSlab(500_000).buffer).not.toBe(large.buffer);
  });
});
