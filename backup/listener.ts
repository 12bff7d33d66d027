/** The port replication connections come in on: TLS where configured, few and short-lived strangers, one Receiver each. */

import { createServer as createHttpServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { type Endpoint, formatEndpoint } from '../shared/config/endpoint.ts';
import { RomulusError } from '../shared/errors.ts';
import type { AgentTlsOptions } from '../shared/tls.ts';
import { requirePeer } from '../shared/tls.ts';
import type { Hello } from '../shared/wire/messages.ts';
import { REPLICATE_PATH, replicationServer, requireTlsOffLoopback } from '../shared/wire/socket.ts';
import { Receiver, type ReceiverOptions } from './receiver.ts';
import type { Standby } from './standby.ts';

/** Connections at once; each protected VM needs one. */
const MAX_CONNECTIONS = 4096;
/** Time for a stranger to finish TLS and the HTTP upgrade. */
const HANDSHAKE_TIMEOUT_MS = 5000;

export interface ListenerOptions extends Omit<ReceiverOptions, 'standbyFor'> {
  listen: Endpoint;
  tls?: AgentTlsOptions;
  standbyFor(hello: Hello): Promise<Standby>;
}

/** Resolves once the port is open; throws TLS_REQUIRED, or CONFIG_INVALID when the port is taken. */
export async function listen(
  options: ListenerOptions,
): Promise<{ endpoint: Endpoint; close(): Promise<void> }> {
  requireTlsOffLoopback(options.listen.host, options.tls);
  const sockets = replicationServer();
  const server: Server = options.tls
    ? createHttpsServer({ ...options.tls, handshakeTimeout: HANDSHAKE_TIMEOUT_MS })
    : createHttpServer();
  server.maxConnections = MAX_CONNECTIONS;
  server.headersTimeout = HANDSHAKE_TIMEOUT_MS;
  server.on('request', (_request, response) => response.writeHead(426).end());
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    if (request.url !== REPLICATE_PATH) {
      socket.end('HTTP/1.1 404 Not Found\r\n\r\n');
      return;
    }
    sockets.handleUpgrade(request, socket, head, (webSocket) => {
      new Receiver(webSocket, { ...options, standbyFor: (hello) => admitted(socket, hello, options) });
    });
  });
  const endpoint = await open(server, options.listen);
  return {
    endpoint,
    close: () =>
      new Promise((resolve) => {
        for (const client of sockets.clients) client.terminate();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** With TLS, a node is who its certificate says, whatever its hello claims. */
async function admitted(socket: Duplex, hello: Hello, options: ListenerOptions): Promise<Standby> {
  if (socket instanceof TLSSocket) requirePeer(socket, hello.node);
  return options.standbyFor(hello);
}

function open(server: Server, { host, port }: Endpoint): Promise<Endpoint> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new RomulusError(
          'CONFIG_INVALID',
          `cannot listen on ${formatEndpoint({ host, port })}: ${cause.message}`,
          {
            hint: `see who has the port: ss -ltnp 'sport = :${port}'`,
            cause,
          },
        ),
      ),
    );
    server.listen({ host, port }, () => {
      const address = server.address();
      resolve({ host, port: typeof address === 'object' && address !== null ? address.port : port });
    });
  });
}
