/** What all netlink messages are made of, as bytes: struct nlmsghdr, and attributes behind a head of the family's own (linux/netlink.h). */

export const HEADER_BYTES = 16;
export const FLAG = {
  request: 0x1,
  ack: 0x4,
  echo: 0x8,
  replace: 0x100,
  exclusive: 0x200,
  create: 0x400,
} as const;
/** The type of an acknowledgement, and of a refusal. */
export const ERROR = 2;
/** Set in the type of an attribute that holds attributes. */
export const NESTED = 0x8000;

/** A whole message. `head` begins with HEADER_BYTES for struct nlmsghdr, filled in here but for sequence and sender. */
export function netlinkMessage(type: number, flags: number, head: Buffer, attributes: Buffer[]): Buffer {
  const whole = Buffer.concat([head, ...attributes]);
  whole.writeUInt32LE(whole.length, 0);
  whole.writeUInt16LE(type, 4);
  whole.writeUInt16LE(flags, 6);
  return whole;
}

/** struct nlattr: length with its own four bytes, type, and the value padded to four. */
export function attribute(type: number, value: Buffer): Buffer {
  const padded = Buffer.alloc(4 + Math.ceil(value.length / 4) * 4);
  padded.writeUInt16LE(4 + value.length, 0);
  padded.writeUInt16LE(type, 2);
  value.copy(padded, 4);
  return padded;
}

/** A string as the value of an attribute: its zero is part of it. */
export function text(value: string): Buffer {
  return Buffer.from(`${value}\0`);
}

/** The attributes from `headBytes` on, by type; what is malformed, and all behind it, is left out. */
export function attributesOf(answer: Buffer, headBytes: number): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = headBytes; at + 4 <= answer.length; ) {
    const length = answer.readUInt16LE(at);
    if (length < 4 || at + length > answer.length) break;
    found.set(answer.readUInt16LE(at + 2) & ~NESTED, answer.subarray(at + 4, at + length));
    at += Math.ceil(length / 4) * 4;
  }
  return found;
}
