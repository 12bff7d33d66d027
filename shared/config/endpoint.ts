/** A TCP endpoint as config files name it ("host:port", "[::1]:7400"), and whether it stays on this machine. */

import { isIPv4, isIPv6 } from 'node:net';

export interface Endpoint {
  host: string;
  /** 1 to 65535, or 0 in `listen` for any free port. */
  port: number;
}

/** undefined when the text is not host:port; IPv6 addresses stand in brackets. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(text.trim());
  if (!match) return undefined;
  const [, bracketed, plain, digits] = match;
  const port = Number(digits);
  if (port > 65_535 || (bracketed !== undefined && !isIPv6(bracketed))) return undefined;
  return { host: (bracketed ?? plain) as string, port };
}

export function formatEndpoint(endpoint: Endpoint): string {
  return isIPv6(endpoint.host) ? `[${endpoint.host}]:${endpoint.port}` : `${endpoint.host}:${endpoint.port}`;
}

/** Only what cannot leave this machine; a name other than "localhost" may resolve to anything. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}
