/** Ethernet frames that tell a network where a MAC and its addresses are now: RARP, gratuitous ARP, unsolicited NA. */

import { isIPv4 } from 'node:net';

const BROADCAST = 'ff:ff:ff:ff:ff:ff';
/** ff02::1, all nodes, and the MAC its packets go to. */
const ALL_NODES = 'ff020000000000000000000000000001';
const ALL_NODES_MAC = '33:33:00:00:00:01';
/** Shorter frames are padded to this, the check sequence not counted. */
const MIN_FRAME_BYTES = 60;
const ETHERTYPE = { arp: 0x0806, rarp: 0x8035, ipv6: 0x86dd } as const;
const ICMPV6 = 58;
const NEIGHBOUR_ADVERTISEMENT = 136;
/** "Override": what the receiver knew before no longer holds. */
const OVERRIDE = 0x20000000;

/** Moves a MAC in the tables of bridges and switches; needs no address. What QEMU's own announcement sends. */
export function reverseArp(mac: string): Buffer {
  return frame(BROADCAST, mac, ETHERTYPE.rarp, arpBody(3, mac, '0.0.0.0', mac, '0.0.0.0'));
}

/** Tells every neighbour that `address` (IPv4) is at `mac`. */
export function gratuitousArp(mac: string, address: string): Buffer {
  return frame(BROADCAST, mac, ETHERTYPE.arp, arpBody(1, mac, address, '00:00:00:00:00:00', address));
}

/** The same for an IPv6 address: an unsolicited neighbour advertisement to all nodes. */
export function neighbourAdvertisement(mac: string, address: string): Buffer {
  const source = ipv6Bytes(address);
  const target = Buffer.from(ALL_NODES, 'hex');
  const icmp = Buffer.alloc(32);
  icmp[0] = NEIGHBOUR_ADVERTISEMENT;
  icmp.writeUInt32BE(OVERRIDE, 4);
  source.copy(icmp, 8);
  icmp[24] = 2; // option: target link-layer address
  icmp[25] = 1; // in units of 8 bytes
  macBytes(mac).copy(icmp, 26);
  const pseudo = Buffer.alloc(8);
  pseudo.writeUInt32BE(icmp.length, 0);
  pseudo[7] = ICMPV6;
  icmp.writeUInt16BE(internetChecksum(Buffer.concat([source, target, pseudo, icmp])), 2);
  const header = Buffer.alloc(8);
  header[0] = 0x60;
  header.writeUInt16BE(icmp.length, 4);
  header[6] = ICMPV6;
  header[7] = 255; // hop limit: proves that the sender is on the link
  return frame(ALL_NODES_MAC, mac, ETHERTYPE.ipv6, Buffer.concat([header, source, target, icmp]));
}

/** All that announces one device. */
export function announcementFrames(mac: string, addresses: readonly string[] = []): Buffer[] {
  const perAddress = addresses.map((address) =>
    isIPv4(address) ? gratuitousArp(mac, address) : neighbourAdvertisement(mac, address),
  );
  return [reverseArp(mac), ...perAddress];
}

function frame(to: string, from: string, ethertype: number, body: Buffer): Buffer {
  const type = Buffer.alloc(2);
  type.writeUInt16BE(ethertype);
  const packed = Buffer.concat([macBytes(to), macBytes(from), type, body]);
  return packed.length >= MIN_FRAME_BYTES ? packed : Buffer.concat([packed], MIN_FRAME_BYTES);
}

function arpBody(operation: number, mac: string, address: string, targetMac: string, target: string): Buffer {
  const head = Buffer.from([0, 1, 0x08, 0x00, 6, 4, 0, operation]); // Ethernet, IPv4
  return Buffer.concat([head, macBytes(mac), ipv4Bytes(address), macBytes(targetMac), ipv4Bytes(target)]);
}

function macBytes(mac: string): Buffer {
  return Buffer.from(mac.replaceAll(':', ''), 'hex');
}

function ipv4Bytes(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number));
}

/** Takes "::" and an embedded IPv4 address. */
export function ipv6Bytes(address: string): Buffer {
  const plain = address.replace(/[\d.]+$/, (tail) =>
    tail.includes('.') ? (ipv4Bytes(tail).toString('hex').match(/.{4}/g) ?? []).join(':') : tail,
  );
  const [left = '', right] = plain.split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const head = groups(left);
  const tail = right === undefined ? [] : groups(right);
  const zeros = Array<string>(8 - head.length - tail.length).fill('0');
  return Buffer.from([...head, ...zeros, ...tail].map((group) => group.padStart(4, '0')).join(''), 'hex');
}

/** RFC 1071, over an even number of bytes. */
function internetChecksum(data: Buffer): number {
  let sum = 0;
  for (let at = 0; at < data.length; at += 2) sum += data.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}
