/** A TCP port for Prometheus: `/metrics` and nothing else, to whoever shows the token; TLS off loopback. */

import { createHash, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { type Endpoint, formatEndpoint, isLoopback, type MetricsConfig } from '../../shared/config.ts';
import { RomulusError } from '../../shared/errors.ts';
import type { TextAnswer } from '../../shared/http.ts';
import type { AgentTlsOptions } from '../../shared/tls.ts';
import { requireTlsOffLoopback } from '../../shared/wire/socket.ts';

/** A scraper or two, and their retries. */
const MAX_CONNECTIONS = 32;
const REQUEST_TIMEOUT_MS = 5000;
const CHECK_INTERVAL_MS = 1000;
/** Shorter tokens can be guessed. */
const MIN_TOKEN_LENGTH = 20;
const MAX_TOKEN_BYTES = 4096;

export interface ScrapePort {
  readonly endpoint: Endpoint;
  close(): Promise<void>;
}

/**
 * Throws CONFIG_INVALID for a token file that is missing, too short or open to others, and for a port that is taken;
 * TLS_REQUIRED off loopback without TLS. The token file is looked at again for each request, as certificates are.
 */
export async function openScrapePort(
  { listen, tokenFile }: MetricsConfig,
  tls: (() => AgentTlsOptions) | undefined,
  scrape: () => Promise<TextAnswer>,
): Promise<ScrapePort> {
  requireTlsOffLoopback(listen.host, tls);
  readToken(tokenFile);
  const answer: RequestListener = (request, response) => {
    const path = (request.url ?? '').split('?')[0];
    response.setHeader('connection', 'close');
    if (!showsToken(request, tokenFile)) response.writeHead(401, { 'www-authenticate': 'Bearer' }).end();
    else if (request.method !== 'GET' || path !== '/metrics') response.writeHead(404).end();
    else
      scrape().then(
        ({ text, contentType }) => response.writeHead(200, { 'content-type': contentType }).end(text),
        () => response.writeHead(500).end(),
      );
  };
  const server = createFor(listen, tls, answer);
  const endpoint = await open(server, listen);
  return {
    endpoint,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** With TLS the scraper need not show a certificate: it has the token. */
function createFor(
  { host }: Endpoint,
  tls: (() => AgentTlsOptions) | undefined,
  answer: RequestListener,
): Server {
  const timing = {
    headersTimeout: REQUEST_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionsCheckingInterval: CHECK_INTERVAL_MS,
  };
  let server: Server;
  if (tls === undefined || isLoopback(host)) server = createServer(timing, answer);
  else {
    const serverSide = () => ({ ...tls(), requestCert: false, rejectUnauthorized: false });
    const secure = createTlsServer(
      { ...serverSide(), ...timing, handshakeTimeout: REQUEST_TIMEOUT_MS },
      answer,
    );
    secure.prependListener('connection', () => secure.setSecureContext(serverSide()));
    server = secure;
  }
  server.maxConnections = MAX_CONNECTIONS;
  return server;
}

/** Compared as digests, in a time that tells nothing of how much of it was right. */
function showsToken(request: IncomingMessage, tokenFile: string): boolean {
  const shown = /^Bearer (\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
  if (shown === undefined) return false;
  try {
    return timingSafeEqual(digest(shown), digest(readToken(tokenFile)));
  } catch {
    return false; // without a good token file nobody is let in
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

function readToken(path: string): string {
  const make = `(umask 077; openssl rand -hex 32 > ${path})`;
  let token: string;
  try {
    const { mode, size } = statSync(path);
    if (mode & 0o077) throw invalid(`${path} can be read by others than its owner`, `chmod 600 ${path}`);
    if (size > MAX_TOKEN_BYTES) throw invalid(`${path} is too large for a token`, make);
    token = readFileSync(path, 'utf8').trim();
  } catch (thrown) {
    if (thrown instanceof RomulusError) throw thrown;
    throw invalid(`the token file ${path} cannot be read (${(thrown as NodeJS.ErrnoException).code})`, make);
  }
  if (token.length < MIN_TOKEN_LENGTH)
    throw invalid(`the token in ${path} has less than ${MIN_TOKEN_LENGTH} characters`, make);
  return token;
}

function invalid(message: string, hint: string): RomulusError {
  return new RomulusError('CONFIG_INVALID', message, { hint });
}

async function open(server: Server, { host, port }: Endpoint): Promise<Endpoint> {
  server.listen({ host, port });
  try {
    await once(server, 'listening');
  } catch (cause) {
    const where = formatEndpoint({ host, port });
    throw new RomulusError('CONFIG_INVALID', `cannot listen on ${where}: ${(cause as Error).message}`, {
      hint: `see who has the port: ss -ltnp 'sport = :${port}'`,
      cause,
    });
  }
  const address = server.address();
  return { host, port: typeof address === 'object' && address !== null ? address.port : port };
}
