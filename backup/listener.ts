/** The port replication connections come in on: TLS where configured, few and short-lived strangers, one Receiver each. */

import { createServer as createHttpServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { type Endpoint, formatEndpoint } from '../shared/config/endpoint.ts';
import { RomulusError } from '../shared/errors.ts';
import { MAX_FRAME_BYTES } from '../shared/limits.ts';
import type { AgentTlsOptions } from '../shared/tls.ts';
import { requirePeer } from '../shared/tls.ts';
import { connectingLimits } from '../shared/wire/connecting.ts';
import type { Hello } from '../shared/wire/messages.ts';
import { REPLICATE_PATH, replicationServer, requireTlsOffLoopback } from '../shared/wire/socket.ts';
import { widen } from '../shared/wire/wide-socket.ts';
import { Receiver, type ReceiverOptions } from './receiver.ts';
import type { Standby } from './standby.ts';
import { type Refusal, STRANGER_LIMITS, type StrangerLimits, Strangers } from './strangers.ts';

/** Connections at once, of strangers and of others; each protected VM needs one. */
const MAX_CONNECTIONS = 4096;
/** Node looks for late requests this often. */
const CHECK_INTERVAL_MS = 1000;

export interface ListenerOptions extends Omit<ReceiverOptions, 'standbyFor'> {
  listen: Endpoint;
  /** Asked for each connection, so that new certificates need no restart. */
  tls?: () => AgentTlsOptions;
  /** Whether a node is a peer of this one; any node of the CA is, unless said otherwise. */
  isPeer?(node: string): boolean;
  limits?: StrangerLimits;
  standbyFor(hello: Hello): Promise<Standby>;
}

export interface Listener {
  readonly endpoint: Endpoint;
  /** Connections that were turned away so far, by reason. */
  readonly refused: Readonly<Record<Refusal, number>>;
  close(): Promise<void>;
}

/** Resolves once the port is open; throws TLS_REQUIRED, or CONFIG_INVALID when the port is taken. */
export async function listen(options: ListenerOptions): Promise<Listener> {
  requireTlsOffLoopback(options.listen.host, options.tls);
  const sockets = replicationServer();
  const { handshakeMs, admissionMs } = connectingLimits(options.silenceMs);
  const strangers = new Strangers(options.limits ?? { ...STRANGER_LIMITS, admissionMs });
  const server = createServer(options.tls, strangers, handshakeMs);
  server.on('request', (_request, response) => response.writeHead(426, { connection: 'close' }).end());
  server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
    if (request.url !== REPLICATE_PATH) {
      socket.end('HTTP/1.1 404 Not Found\r\n\r\n');
      return;
    }
    if (sockets.clients.size >= MAX_CONNECTIONS) {
      socket.end('HTTP/1.1 503 Service Unavailable\r\n\r\n');
      return;
    }
    const wide = widen(socket, head, strangers.bytes);
    if (wide.socket !== socket) strangers.moved(wide.socket);
    strangers.count(wide.socket, head);
    sockets.handleUpgrade(request, wide.socket, wide.head, (webSocket) => {
      const standbyFor = async (hello: Hello) => {
        admit(wide.socket, hello, options);
        strangers.known(wide.socket);
        wide.allow(MAX_FRAME_BYTES);
        return options.standbyFor(hello);
      };
      new Receiver(webSocket, { ...options, standbyFor });
    });
  });
  const endpoint = await open(server, options.listen);
  return {
    endpoint,
    refused: strangers.refused,
    close: () =>
      new Promise((resolve) => {
        for (const client of sockets.clients) client.terminate();
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** A server whose connections are strangers first; each is met with the certificates of that moment. */
function createServer(tls: ListenerOptions['tls'], strangers: Strangers, handshakeMs: number): Server {
  const timing = { headersTimeout: handshakeMs, connectionsCheckingInterval: CHECK_INTERVAL_MS };
  let inUse = tls?.();
  const secure = inUse && createHttpsServer({ ...inUse, ...timing, handshakeTimeout: handshakeMs });
  const server: Server = secure ?? createHttpServer(timing);
  server.maxConnections = MAX_CONNECTIONS;
  // Before Node's own listener, which takes the secure context of that moment for the new connection.
  server.prependListener('connection', (socket: Socket) => {
    if (!strangers.arrived(socket) || secure === undefined) return;
    const now = tls?.();
    if (now !== undefined && now !== inUse) secure.setSecureContext(now);
    inUse = now;
  });
  // Failed handshakes too: node:https hands them on.
  server.on('clientError', (_error, socket) => {
    strangers.spokeNonsense();
    socket.destroy();
  });
  return server;
}

/** With TLS, a node is who its certificate says, whatever its hello claims; and only peers are let in. */
function admit(socket: Socket, hello: Hello, { node, isPeer }: ListenerOptions): void {
  if (socket instanceof TLSSocket) requirePeer(socket, hello.node);
  if (isPeer === undefined || isPeer(hello.node)) return;
  throw new RomulusError('PEER_UNKNOWN', `node ${hello.node} is no peer of ${node}`, {
    hint: `on ${node}: add ${hello.node} under peers: in agent.yaml`,
  });
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
