/** One frame of PROTOCOL.md: prefix, msgpack head, raw payload; the codec knows nothing of sockets. */

import { Packr, Unpackr } from 'msgpackr';
import { engine } from '../../native/index.ts';
import { RomulusError } from '../errors.ts';
import { MAX_FRAME_BYTES, MAX_HEAD_BYTES } from '../limits.ts';

export const PREFIX_BYTES = 24;
/** Byte of the prefix that names the message. */
export const KIND_OFFSET = 3;
export const PROTOCOL_VERSION = 1;
const MAGIC = 0x4d52; // "RM"

const packr = new Packr({ useRecords: false, int64AsType: 'number', variableMapSize: true });
const unpackr = new Unpackr({ useRecords: false, int64AsType: 'number', mapsAsObjects: true });

export interface Frame {
  kind: number;
  sequence: number;
  head: Record<string, unknown>;
  /** A view of the message: copy what outlives it. */
  payload: Buffer;
  /** The whole message as it came, for a journal. */
  message: Buffer;
}

/** A payload that already lies in a larger buffer with free bytes before it, so that nothing is copied to frame it. */
export interface FramedPayload {
  buffer: Buffer;
  offset: number;
  bytes: number;
  crc32c: number;
}

/** A payload that lies in a buffer of its own; it is copied to frame it. */
export function framed(data: Buffer): FramedPayload {
  return { buffer: data, offset: 0, bytes: data.length, crc32c: engine().crc32c(data) };
}

/** Packs a head; throws WIRE_LIMIT if it is too large for any receiver. */
export function packHead(head: object): Buffer {
  const packed = packr.pack(head);
  if (packed.length > MAX_HEAD_BYTES) {
    throw new RomulusError(
      'WIRE_LIMIT',
      `a head of ${packed.length} bytes is over the limit of ${MAX_HEAD_BYTES}`,
    );
  }
  return packed;
}

/**
 * Frames a head, and a payload if there is one, into one contiguous buffer. The prefix and head are written into the free
 * bytes before the payload; where these do not suffice, the payload is copied.
 */
export function encodeFrame(kind: number, sequence: number, head: object, payload?: FramedPayload): Buffer {
  const packed = packHead(head);
  const room = PREFIX_BYTES + packed.length;
  if (payload === undefined) return writeFrame(Buffer.allocUnsafe(room), kind, sequence, packed, 0, 0);
  const total = room + payload.bytes;
  if (total > MAX_FRAME_BYTES) {
    throw new RomulusError('WIRE_LIMIT', `a frame of ${total} bytes is over the limit of ${MAX_FRAME_BYTES}`);
  }
  if (payload.offset >= room) {
    const start = payload.offset - room;
    const frame = payload.buffer.subarray(start, payload.offset + payload.bytes);
    return writeFrame(frame, kind, sequence, packed, payload.bytes, payload.crc32c);
  }
  const frame = Buffer.allocUnsafe(total);
  payload.buffer.copy(frame, room, payload.offset, payload.offset + payload.bytes);
  return writeFrame(frame, kind, sequence, packed, payload.bytes, payload.crc32c);
}

function writeFrame(
  frame: Buffer,
  kind: number,
  sequence: number,
  head: Buffer,
  payloadBytes: number,
  payloadCrc: number,
): Buffer {
  frame.writeUInt16LE(MAGIC, 0);
  frame.writeUInt8(PROTOCOL_VERSION, 2);
  frame.writeUInt8(kind, 3);
  frame.writeUInt32LE(head.length, 4);
  frame.writeUInt32LE(payloadBytes, 8);
  head.copy(frame, PREFIX_BYTES);
  frame.writeUInt32LE(sequence >>> 0, 20);
  frame.writeUInt32LE(payloadCrc, 16);
  frame.writeUInt32LE(headChecksum(frame, head.length), 12);
  return frame;
}

/** CRC-32C over bytes 0..11 and 20..(24 + headBytes); the two are far too short for gathering to matter. */
function headChecksum(frame: Buffer, headBytes: number): number {
  const covered = Buffer.allocUnsafe(12 + 4 + headBytes);
  frame.copy(covered, 0, 0, 12);
  frame.copy(covered, 12, 20, PREFIX_BYTES + headBytes);
  return engine().crc32c(covered);
}

/** Length of the frame that begins at `offset`, read from its prefix, in data that goes on until `end`; throws WIRE_FRAME if it is not whole. */
export function frameLengthAt(data: Buffer, offset: number, end = data.length): number {
  if (data.length - offset < PREFIX_BYTES) throw malformed('it ends within a prefix');
  const length = PREFIX_BYTES + data.readUInt32LE(offset + 4) + data.readUInt32LE(offset + 8);
  if (length > end - offset) throw malformed('it ends within a frame');
  return length;
}

/** Decodes one message; throws WIRE_FRAME, WIRE_LIMIT, WIRE_VERSION or WIRE_CHECKSUM, having allocated nothing large. */
export function decodeFrame(message: Buffer): Frame {
  if (message.length < PREFIX_BYTES) throw malformed(`${message.length} bytes are less than a prefix`);
  if (message.length > MAX_FRAME_BYTES) {
    throw new RomulusError(
      'WIRE_LIMIT',
      `a frame of ${message.length} bytes is over the limit of ${MAX_FRAME_BYTES}`,
    );
  }
  if (message.readUInt16LE(0) !== MAGIC) throw malformed('it does not begin with "RM"');
  const version = message.readUInt8(2);
  if (version !== PROTOCOL_VERSION) {
    throw new RomulusError(
      'WIRE_VERSION',
      `the peer sent a frame of version ${version}, this agent speaks ${PROTOCOL_VERSION}`,
      {
        hint: 'install the same release of Romulus on both hosts',
      },
    );
  }
  const headBytes = message.readUInt32LE(4);
  const payloadBytes = message.readUInt32LE(8);
  if (headBytes > MAX_HEAD_BYTES) {
    throw new RomulusError(
      'WIRE_LIMIT',
      `a head of ${headBytes} bytes is over the limit of ${MAX_HEAD_BYTES}`,
    );
  }
  if (PREFIX_BYTES + headBytes + payloadBytes !== message.length) {
    throw malformed(
      `it is ${message.length} bytes long but names ${PREFIX_BYTES + headBytes + payloadBytes}`,
    );
  }
  const kind = message.readUInt8(3);
  if (kind === 0) throw malformed('kind 0 is reserved');
  if (message.readUInt32LE(12) !== headChecksum(message, headBytes)) throw checksum('head');
  const payload = message.subarray(PREFIX_BYTES + headBytes);
  if (message.readUInt32LE(16) !== engine().crc32c(payload)) throw checksum('payload');
  return { kind, sequence: message.readUInt32LE(20), head: unpackHead(message, headBytes), payload, message };
}

function unpackHead(message: Buffer, headBytes: number): Record<string, unknown> {
  let head: unknown;
  try {
    head = unpackr.unpack(message.subarray(PREFIX_BYTES, PREFIX_BYTES + headBytes));
  } catch (cause) {
    throw malformed('its head is not msgpack', cause);
  }
  if (typeof head !== 'object' || head === null || Array.isArray(head))
    throw malformed('its head is not a map');
  return head as Record<string, unknown>;
}

function malformed(detail: string, cause?: unknown): RomulusError {
  return new RomulusError('WIRE_FRAME', `malformed frame: ${detail}`, { cause });
}

function checksum(part: string): RomulusError {
  return new RomulusError(
    'WIRE_CHECKSUM',
    `the checksum of a frame's ${part} does not match: damaged in transit`,
    {
      hint: 'the connection is made anew by itself; if this repeats, check the network cards and cables',
    },
  );
}
