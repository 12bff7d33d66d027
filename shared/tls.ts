/** TLS between agents: both sides show a certificate of the one private CA, and the name in it is the node's. */

import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import {
  createSecureContext,
  type PeerCertificate,
  type SecureContextOptions,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls';
import type { TlsFiles } from './config/parse.ts';
import { RomulusError } from './errors.ts';

/** Bytes of a certificate or key file, at most. */
const MAX_PEM_BYTES = 256 * 1024;
export const DAY_MS = 24 * 3600 * 1000;

/** Fits tls.createServer and tls.connect alike: no peer without a certificate of this CA, nothing below TLS 1.3. */
export type AgentTlsOptions = SecureContextOptions & Pick<TlsOptions, 'requestCert' | 'rejectUnauthorized'>;

/** TLS_INVALID when a file is missing, unreadable to us, readable to others (the key), expired, or the key is another's. */
export function loadTls(files: TlsFiles, now = Date.now()): AgentTlsOptions {
  const cert = readPem(files.cert);
  const validMs = certificateExpiry(cert, files.cert).expiresAt.getTime() - now;
  if (validMs <= 0) throw invalid(`${files.cert} has expired`, renewHint(files));
  if ((statSync(files.key, { throwIfNoEntry: false })?.mode ?? 0) & 0o077) {
    throw invalid(`${files.key} can be read by others than its owner`, `chmod 600 ${files.key}`);
  }
  const context = { ca: readPem(files.ca), cert, key: readPem(files.key) };
  try {
    createSecureContext(context);
  } catch (cause) {
    const { message } = cause as Error;
    throw invalid(`${files.cert} and ${files.key} do not fit together: ${message}`, renewHint(files), cause);
  }
  return {
    ...context,
    minVersion: 'TLSv1.3',
    requestCert: true,
    rejectUnauthorized: true,
  };
}

/** For tls.connect's `checkServerIdentity`: the certificate must name the node, whatever address it was dialled by. */
export function identityCheck(
  node: string,
): (host: string, certificate: PeerCertificate) => Error | undefined {
  return (_host, certificate) => {
    if (namesOf(certificate).includes(node)) return undefined;
    return invalid(
      `the peer's certificate is for ${namesOf(certificate).join(', ') || 'nobody'}, not for node "${node}"`,
      `romulus certs DIR --node ${node}`,
    );
  };
}

/** For the accepting side, after `secureConnection`: throws TLS_INVALID unless the peer proved to be `node`. */
export function requirePeer(socket: TLSSocket, node: string): void {
  if (!socket.authorized)
    throw invalid(`the peer's certificate is not trusted (${socket.authorizationError})`);
  const error = identityCheck(node)('', socket.getPeerCertificate());
  if (error) throw error;
}

/** Node names a peer's certificate carries; empty when it showed none. */
export function peerNames(socket: TLSSocket): string[] {
  return socket.authorized ? namesOf(socket.getPeerCertificate()) : [];
}

/** Whole days until a certificate file expires, negative when it has. */
export function expiryDays(certFile: string, now = Date.now()): number {
  const { expiresAt } = certificateExpiry(readPem(certFile), certFile);
  return Math.floor((expiresAt.getTime() - now) / DAY_MS);
}

function certificateExpiry(pem: Buffer, path: string): { expiresAt: Date } {
  try {
    return { expiresAt: new Date(new X509Certificate(pem).validTo) };
  } catch (cause) {
    throw new RomulusError('TLS_INVALID', `${path} holds no certificate`, {
      cause,
      hint: 'romulus certs DIR --node NAME',
    });
  }
}

/** Names in the subjectAltName; the common name is not looked at, as RFC 9525 asks. */
function namesOf(certificate: PeerCertificate): string[] {
  return (certificate.subjectaltname ?? '')
    .split(', ')
    .filter((entry) => entry.startsWith('DNS:'))
    .map((entry) => entry.slice('DNS:'.length));
}

/** The bytes of a certificate or key file; TLS_INVALID when it cannot be read. */
export function readPem(path: string): Buffer {
  try {
    if (statSync(path).size > MAX_PEM_BYTES) throw invalid(`${path} is too large for a certificate or key`);
    return readFileSync(path);
  } catch (thrown) {
    if (thrown instanceof RomulusError) throw thrown;
    const { code } = thrown as NodeJS.ErrnoException;
    throw invalid(`${path} cannot be read (${code})`, 'romulus certs DIR --node NAME', thrown);
  }
}

function renewHint(files: TlsFiles): string {
  return `romulus certs ${files.cert.replace(/\/[^/]*$/, '') || '.'} --node NAME`;
}

function invalid(message: string, hint = 'romulus certs DIR --node NAME', cause?: unknown): RomulusError {
  return new RomulusError('TLS_INVALID', message, { hint, cause });
}
