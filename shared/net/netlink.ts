/** rtnetlink messages of the `plug` queueing discipline, as bytes: struct nlmsghdr, struct tcmsg, and its two attributes. */

import { RomulusError } from '../errors.ts';
import {
  attribute,
  attributesOf,
  ERROR,
  FLAG,
  HEADER_BYTES,
  netlinkMessage,
  text,
} from './netlink-message.ts';

/** What `plug` can be told, by the numbers of struct tc_plug_qopt. */
export const PlugAction = { buffer: 0, releaseOne: 1, releaseIndefinite: 2, limit: 3 } as const;
export type PlugActionId = (typeof PlugAction)[keyof typeof PlugAction];

const NEW_QDISC = 36;
const GET_QDISC = 38;
const ROOT = 0xffffffff;
const ATTRIBUTE = { kind: 1, options: 2, stats: 3 } as const;
const TCMSG_BYTES = 20;
/** Where struct tcmsg has the handle. */
const HANDLE_OFFSET = 8;
/** Where struct tc_stats has the packets and bytes that wait. */
const STATS = { qlen: 28, backlog: 32, bytes: 36 } as const;

/** Two names for a discipline, so that one can take the place of the other. */
export const PLUG_HANDLES = [0x10000, 0x20000] as const;

/**
 * Makes a new `plug` the root discipline of an interface; it is plugged from then on. One of another handle makes way for it
 * within the same step: what it holds is thrown away, and nothing passes between the old and the new. EEXIST when the one
 * that is there has this handle.
 */
export function createPlug(ifindex: number, sequence: number, handle: number): Buffer {
  const flags = FLAG.request | FLAG.ack | FLAG.create | FLAG.replace | FLAG.exclusive;
  const request = message(NEW_QDISC, flags, sequence, ifindex, [attribute(ATTRIBUTE.kind, text('plug'))]);
  request.writeUInt32LE(handle, HEADER_BYTES + HANDLE_OFFSET);
  return request;
}

/** `limitBytes` counts with `limit` alone. */
export function changePlug(ifindex: number, sequence: number, action: PlugActionId, limitBytes = 0): Buffer {
  const options = Buffer.alloc(8);
  options.writeInt32LE(action, 0);
  options.writeUInt32LE(limitBytes, 4);
  return message(NEW_QDISC, FLAG.request | FLAG.ack, sequence, ifindex, [
    attribute(ATTRIBUTE.kind, text('plug')),
    attribute(ATTRIBUTE.options, options),
  ]);
}

/** Asks for the root discipline of an interface. Without `echo` the kernel tells all who listen to changes, but not who asked. */
export function getQdisc(ifindex: number, sequence: number): Buffer {
  return message(GET_QDISC, FLAG.request | FLAG.echo, sequence, ifindex, []);
}

/** What waits in the discipline that getQdisc() asked for. */
export function parseBacklog(answer: Buffer, sequence: number): { packets: number; bytes: number } {
  const wellFormed = answer.length >= HEADER_BYTES + TCMSG_BYTES && answer.readUInt16LE(4) === NEW_QDISC;
  if (!wellFormed || answer.readUInt32LE(8) !== sequence)
    throw new RomulusError('HV_PROTOCOL', 'the kernel did not name the queueing discipline');
  const stats = attributesOf(answer, HEADER_BYTES + TCMSG_BYTES).get(ATTRIBUTE.stats);
  if (stats !== undefined && stats.length >= STATS.bytes)
    return { packets: stats.readUInt32LE(STATS.qlen), bytes: stats.readUInt32LE(STATS.backlog) };
  throw new RomulusError('HV_PROTOCOL', 'the kernel gave no figures of the queueing discipline');
}

/** The errno of an acknowledgement, 0 for success. Throws on anything that is no answer to `sequence`. */
export function parseAcknowledgement(answer: Buffer, sequence: number): number {
  if (answer.length < HEADER_BYTES + 4 || answer.readUInt16LE(4) !== ERROR)
    throw new RomulusError('HV_PROTOCOL', 'the kernel gave no acknowledgement of a netlink request');
  if (answer.readUInt32LE(8) !== sequence)
    throw new RomulusError('HV_PROTOCOL', `netlink answered ${answer.readUInt32LE(8)}, not ${sequence}`);
  return Math.abs(answer.readInt32LE(HEADER_BYTES));
}

function message(type: number, flags: number, sequence: number, ifindex: number, parts: Buffer[]): Buffer {
  const head = Buffer.alloc(HEADER_BYTES + TCMSG_BYTES);
  head.writeUInt32LE(sequence, 8);
  head.writeInt32LE(ifindex, HEADER_BYTES + 4);
  head.writeUInt32LE(ROOT, HEADER_BYTES + 12);
  return netlinkMessage(type, flags, head, parts);
}
