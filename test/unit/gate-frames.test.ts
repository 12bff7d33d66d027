/** Announcements, names and netlink messages, byte by byte. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  announcementFrames,
  gratuitousArp,
  ipv6Bytes,
  neighbourAdvertisement,
} from '../../shared/net/frames.ts';
import { isAddress, isInterfaceName, isMac } from '../../shared/net/names.ts';
import {
  changePlug,
  createPlug,
  getQdisc,
  PLUG_HANDLES,
  PlugAction,
  parseAcknowledgement,
} from '../../shared/net/netlink.ts';

const MAC = '52:54:00:12:34:56';

describe('announcements', () => {
  it('move a MAC by reverse ARP, padded to the shortest frame there is', () => {
    const [frame] = announcementFrames(MAC);
    const body = '0001080006040003525400123456000000005254001234560000'.concat('0000');
    expect(frame?.toString('hex')).toBe(`ffffffffffff5254001234568035${body}`.padEnd(120, '0'));
  });

  it('say by gratuitous ARP that an IPv4 address is at the MAC: sender and target are the same', () => {
    const frame = gratuitousArp(MAC, '192.0.2.10');
    expect(frame.subarray(12, 14).toString('hex')).toBe('0806');
    expect(frame.subarray(28, 32)).toEqual(Buffer.from([192, 0, 2, 10]));
    expect(frame.subarray(38, 42)).toEqual(Buffer.from([192, 0, 2, 10]));
  });

  it('say the same of an IPv6 address to all nodes, with a checksum that verifies', () => {
    const frame = neighbourAdvertisement(MAC, '2001:db8::10');
    expect(frame.subarray(0, 6).toString('hex')).toBe('333300000001');
    const ip = frame.subarray(14);
    expect(ip[7]).toBe(255);
    const icmp = ip.subarray(40, 72);
    expect(icmp[0]).toBe(136);
    const pseudo = Buffer.from([0, 0, 0, 32, 0, 0, 0, 58]);
    const covered = Buffer.concat([ip.subarray(8, 40), pseudo, icmp]);
    let sum = 0;
    for (let at = 0; at < covered.length; at += 2) sum += covered.readUInt16BE(at);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    expect(sum).toBe(0xffff);
  });

  it('come once per address besides the MAC', () => {
    expect(announcementFrames(MAC, ['192.0.2.10', '2001:db8::10'])).toHaveLength(3);
  });

  it('write any IPv6 address as its sixteen bytes, however it is shortened', () => {
    fc.assert(
      fc.property(fc.ipV6(), (address) => {
        expect(ipv6Bytes(address)).toHaveLength(16);
      }),
    );
    expect(ipv6Bytes('::ffff:192.0.2.1').toString('hex')).toBe('00000000000000000000ffffc0000201');
    expect(ipv6Bytes('2001:db8::1').toString('hex')).toBe('20010db8000000000000000000000001');
  });
});

describe('names', () => {
  it('refuse what could not be an interface, a sender or an address', () => {
    for (const name of ['', 'sixteen-letters!', 'a'.repeat(16), '../x', 'a b', 7]) {
      expect(isInterfaceName(name)).toBe(false);
    }
    for (const mac of ['53:54:00:12:34:56', '52-54-00-12-34-56', '52:54:00:12:34', '52:54:00:12:34:5G'])
      expect(isMac(mac)).toBe(false);
    for (const address of ['10.0.0', 'fe80::1%eth0', '10.0.0.1/24']) expect(isAddress(address)).toBe(false);
    expect([isInterfaceName('tap0'), isMac(MAC), isAddress('::1')]).toEqual([true, true, true]);
  });
});

describe('plug messages', () => {
  const tcmsg = (ifindex: string, handle: string) => `00000000${ifindex}${handle}ffffffff00000000`;
  const kind = '09000100706c756700000000';

  it('make the discipline with request, ack, create, replace and exclusive: anew, in place of one of another handle', () => {
    const expected = `30000000240005070500000000000000${tcmsg('07000000', '00000100')}${kind}`;
    expect(createPlug(7, 5, PLUG_HANDLES[0]).toString('hex')).toBe(expected);
  });

  it('carry action and limit unnested, in 60 bytes', () => {
    const bytes = changePlug(7, 6, PlugAction.releaseOne);
    expect(bytes).toHaveLength(60);
    expect(bytes.subarray(48).toString('hex')).toBe('0c0002000100000000000000');
    expect(bytes.readUInt16LE(6)).toBe(0x5);
    expect(changePlug(7, 6, PlugAction.limit, 1000).readUInt32LE(56)).toBe(1000);
  });

  it('take an answer for what it is: success, an errno, or somebody else’s', () => {
    const answer = Buffer.alloc(36);
    answer.writeUInt16LE(2, 4);
    answer.writeUInt32LE(6, 8);
    expect(parseAcknowledgement(answer, 6)).toBe(0);
    answer.writeInt32LE(-17, 16);
    expect(parseAcknowledgement(answer, 6)).toBe(17);
    expect(() => parseAcknowledgement(answer, 7)).toThrow('netlink answered 6');
    expect(() => parseAcknowledgement(getQdisc(7, 6), 6)).toThrow('no acknowledgement');
  });
});
