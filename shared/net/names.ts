/** What the names in a network's description may look like: they end up in ioctls, frames and QEMU's arguments. */

import { isIP } from 'node:net';

/** IFNAMSIZ less its closing zero. */
const MAX_INTERFACE_NAME_BYTES = 15;
const INTERFACE = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
/** The second digit is even: a group address cannot be a sender. */
const MAC = /^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$/;

export function isInterfaceName(value: unknown): value is string {
  return typeof value === 'string' && value.length <= MAX_INTERFACE_NAME_BYTES && INTERFACE.test(value);
}

/** Of one device, in lower case with colons. */
export function isMac(value: unknown): value is string {
  return typeof value === 'string' && MAC.test(value);
}

/** An IPv4 or IPv6 address, without a scope or a prefix. */
export function isAddress(value: unknown): value is string {
  return typeof value === 'string' && isIP(value) !== 0 && !value.includes('%');
}
