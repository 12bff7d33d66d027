/** What the kernel's NBD client is told, byte by byte; the kernel itself is asked in test/kernel. */

import { describe, expect, it } from 'vitest';
import {
  connectNbd,
  disconnectNbd,
  errorOf,
  getNbdFamily,
  parseConnected,
  parseNbdFamily,
  reconnectNbd,
} from '../../shared/disk/nbd-netlink.ts';

const FAMILY = 0x1d;
const hex = (bytes: Buffer) => bytes.toString('hex');
/** As the kernel answers: head, command, one attribute. */
const answer = (attribute: string) => {
  const bytes = Buffer.from(`00000000${'1d000000'}${'00'.repeat(8)}01010000${attribute}`, 'hex');
  bytes.writeUInt32LE(bytes.length, 0);
  return bytes;
};

describe("messages to the kernel's NBD client", () => {
  it('ask for its number by name', () => {
    expect(hex(getNbdFamily())).toBe(`1c00000010000100${'00'.repeat(8)}03020000080002006e626400`);
    expect(parseNbdFamily(answer('060001001d000000'))).toBe(FAMILY);
  });

  it('hand it a socket, nested twice, with size, flags and time to live', () => {
    const request = connectNbd(FAMILY, {
      fd: 9,
      sizeBytes: 2 ** 33,
      flags: 0x6d,
      backend: 'romulus web',
      deadConnectionTimeoutS: 604_800,
    });
    expect(request.readUInt32LE(0)).toBe(request.length);
    expect(hex(request)).toContain('0c0002000000000002000000'); // 8 GiB
    expect(hex(request)).toContain('0c0003000002000000000000');
    expect(hex(request)).toContain(`10000780${'0c000180'}${'0800010009000000'}`);
    expect(hex(request).includes('0c000400')).toBe(false); // no time limit: a slow server is not cut off
    expect(parseConnected(answer('0800010003000000'))).toBe(3);
  });

  it('name the device to renew or to end', () => {
    expect(hex(reconnectNbd(FAMILY, 3, { fd: 9, backend: 'x' }))).toContain('0800010003000000');
    expect(hex(disconnectNbd(FAMILY, 3))).toBe(`1c0000001d000500${'00'.repeat(8)}020100000800010003000000`);
  });

  it('are answered with an errno, or with what was asked for', () => {
    const refused = Buffer.alloc(36);
    refused.writeUInt16LE(2, 4);
    refused.writeInt32LE(-16, 16);
    expect(errorOf(refused)).toBe(16);
    expect(errorOf(answer('0800010003000000'))).toBe(0);
    expect(() => parseConnected(answer(''))).toThrow('no NBD device');
  });
});
