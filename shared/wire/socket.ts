/** How replication sockets are opened, in one place: no deflate, no masking cost, limits, TLS off loopback. */

import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { WebSocket, WebSocketServer } from 'ws';
import { type Endpoint, formatEndpoint, isLoopback } from '../config/endpoint.ts';
import { RomulusError } from '../errors.ts';
import { MAX_FRAME_BYTES } from '../limits.ts';
import { connectingLimits } from './connecting.ts';

export const REPLICATE_PATH = '/v1/replicate';

export const socketOptions = {
  perMessageDeflate: false,
  maxPayload: MAX_FRAME_BYTES,
  /** Payloads are checked by CRC and never text, so validation of UTF-8 has nothing to do. */
  skipUTF8Validation: true,
} as const;

/** Refuses to carry guest memory in the clear off this machine. */
export function requireTlsOffLoopback(host: string, tls: unknown): void {
  if (tls !== undefined || isLoopback(host)) return;
  throw new RomulusError(
    'TLS_REQUIRED',
    `${host} is not a loopback address and no tls: section is configured`,
    {
      hint: 'make certificates with: romulus certs DIR --node NAME --address HOST',
    },
  );
}

/**
 * Dials a peer; resolves, when the WebSocket is open, with what `greet` makes of it. That is called in the same turn: a
 * peer may have spoken already, and what comes before anybody listens is lost. `stream` is what the WebSocket writes to. Throws PEER_UNREACHABLE or TLS_INVALID.
 */
export function dial<T>(
  endpoint: Endpoint,
  tls: ConnectionOptions | undefined,
  greet: (socket: WebSocket, stream: Socket) => T | Promise<T>,
  { handshakeMs } = connectingLimits(0),
): Promise<T> {
  requireTlsOffLoopback(endpoint.host, tls);
  const address = formatEndpoint(endpoint);
  const socket = new WebSocket(`${tls ? 'wss' : 'ws'}://${address}${REPLICATE_PATH}`, {
    ...socketOptions,
    ...(tls ?? {}),
    handshakeTimeout: handshakeMs,
    // A zero mask is a valid mask that ws need not apply: masking guards browsers' proxies, not daemons with CRCs and TLS.
    generateMask: (mask: Buffer) => {
      mask.fill(0);
    },
  });
  return new Promise((resolve, reject) => {
    socket.once('upgrade', ({ socket: stream }: IncomingMessage) => {
      socket.once('open', () => {
        socket.removeAllListeners('error');
        resolve(greet(socket, stream));
      });
    });
    socket.once('error', (cause) => reject(dialError(address, cause)));
  });
}

function dialError(address: string, cause: Error & { code?: string }): RomulusError {
  const code = cause.code ?? '';
  if (
    code.startsWith('ERR_TLS') ||
    code.startsWith('ERR_SSL') ||
    /CERT|SELF_SIGNED|certificate/i.test(`${code} ${cause.message}`)
  ) {
    return new RomulusError('TLS_INVALID', `no trust between this agent and ${address}: ${cause.message}`, {
      hint: 'both certificates must come from the same CA: romulus certs DIR --node NAME',
      cause,
    });
  }
  return new RomulusError('PEER_UNREACHABLE', `cannot reach ${address}: ${cause.message}`, {
    hint: `is the agent running there? on that host: romulus status`,
    cause,
  });
}

/** A server for replication connections only; `noServer`, so that the caller owns the port and its TLS. */
export function replicationServer(): WebSocketServer {
  return new WebSocketServer({ ...socketOptions, noServer: true });
}
