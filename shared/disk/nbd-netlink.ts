/** What the kernel's NBD client is told over generic netlink, as bytes (linux/nbd-netlink.h, linux/genetlink.h). */

import { RomulusError } from '../errors.ts';
import {
  attribute,
  attributesOf,
  ERROR,
  FLAG,
  HEADER_BYTES,
  NESTED,
  netlinkMessage,
  text,
} from '../net/netlink-message.ts';

/** NETLINK_GENERIC, beside rtnetlink's 0. */
export const GENERIC_NETLINK = 16;

const CONTROLLER = { id: 0x10, getFamily: 3, familyId: 1, familyName: 2, version: 2 } as const;
const COMMAND = { connect: 1, disconnect: 2, reconfigure: 3 } as const;
const VERSION = 1;
const ATTRIBUTE = {
  index: 1,
  sizeBytes: 2,
  blockSizeBytes: 3,
  serverFlags: 5,
  sockets: 7,
  deadConnectionTimeoutS: 8,
  backend: 10,
} as const;
/** One socket: an item in the list of them, its descriptor in that. */
const SOCKET = { item: 1, fd: 1 } as const;
/** With struct genlmsghdr. */
const HEAD_BYTES = HEADER_BYTES + 4;
/** What guests take for their disk's sector. */
const BLOCK_BYTES = 512;

export interface NbdConnection {
  /** Of a connected socket on which requests may begin; the kernel takes a reference of its own. */
  fd: number;
  sizeBytes: number;
  flags: number;
  /** Told again when the connection is renewed, and shown in /sys/block/nbdN/backend. */
  backend: string;
  /** So long requests wait for a new connection before they fail. */
  deadConnectionTimeoutS: number;
}

/** Asks for the number by which the kernel knows its NBD client; ENOENT unless the module is loaded. */
export function getNbdFamily(): Buffer {
  return message(CONTROLLER.id, FLAG.request, CONTROLLER.getFamily, CONTROLLER.version, [
    attribute(CONTROLLER.familyName, text('nbd')),
  ]);
}

export function parseNbdFamily(answer: Buffer): number {
  const found = attributes(answer).get(CONTROLLER.familyId);
  if (found === undefined) throw new RomulusError('HV_PROTOCOL', 'the kernel did not name its NBD client');
  return found.readUInt16LE(0);
}

/**
 * Makes a device of any number that is free. No time limit for requests is named: the kernel then cuts no connection whose
 * server is slow, and what was asked over a dead one it sends again over the next, half a minute later at most.
 */
export function connectNbd(family: number, connection: NbdConnection): Buffer {
  const { fd, sizeBytes, flags, backend, deadConnectionTimeoutS } = connection;
  return message(family, FLAG.request, COMMAND.connect, VERSION, [
    attribute(ATTRIBUTE.sizeBytes, uint64(sizeBytes)),
    attribute(ATTRIBUTE.blockSizeBytes, uint64(BLOCK_BYTES)),
    attribute(ATTRIBUTE.deadConnectionTimeoutS, uint64(deadConnectionTimeoutS)),
    attribute(ATTRIBUTE.serverFlags, uint64(flags)),
    attribute(ATTRIBUTE.backend, text(backend)),
    socketList(fd),
  ]);
}

/** The number of the device that connectNbd() made. */
export function parseConnected(answer: Buffer): number {
  const found = attributes(answer).get(ATTRIBUTE.index);
  if (found === undefined) throw new RomulusError('HV_PROTOCOL', 'the kernel named no NBD device');
  return found.readUInt32LE(0);
}

/** Gives a device a new connection in place of its dead one. */
export function reconnectNbd(
  family: number,
  index: number,
  { fd, backend }: Pick<NbdConnection, 'fd' | 'backend'>,
): Buffer {
  return message(family, FLAG.request | FLAG.ack, COMMAND.reconfigure, VERSION, [
    attribute(ATTRIBUTE.index, uint32(index)),
    attribute(ATTRIBUTE.backend, text(backend)),
    socketList(fd),
  ]);
}

export function disconnectNbd(family: number, index: number): Buffer {
  return message(family, FLAG.request | FLAG.ack, COMMAND.disconnect, VERSION, [
    attribute(ATTRIBUTE.index, uint32(index)),
  ]);
}

/** The errno of an answer that is one, 0 for success or any other answer. */
export function errorOf(answer: Buffer): number {
  return answer.length >= HEAD_BYTES && answer.readUInt16LE(4) === ERROR
    ? Math.abs(answer.readInt32LE(HEADER_BYTES))
    : 0;
}

/** What the kernel says its answer ends with is taken for its end. */
function attributes(answer: Buffer): Map<number, Buffer> {
  const end = answer.length >= 4 ? answer.readUInt32LE(0) : 0;
  return attributesOf(answer.subarray(0, end), HEAD_BYTES);
}

function message(type: number, flags: number, command: number, version: number, parts: Buffer[]): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt8(command, HEADER_BYTES);
  head.writeUInt8(version, HEADER_BYTES + 1);
  return netlinkMessage(type, flags, head, parts);
}

function socketList(fd: number): Buffer {
  const item = attribute(SOCKET.item | NESTED, attribute(SOCKET.fd, uint32(fd)));
  return attribute(ATTRIBUTE.sockets | NESTED, item);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function uint64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
}
