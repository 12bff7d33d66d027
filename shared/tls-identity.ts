/** This node's certificates as they are on disk now: files that were replaced serve the next connection, without a restart. */

import { X509Certificate } from 'node:crypto';
import { statSync } from 'node:fs';
import { type ConnectionOptions, createSecureContext } from 'node:tls';
import type { TlsFiles } from './config/parse.ts';
import { asRomulusError, type RomulusError } from './errors.ts';
import type { CertificateStatus } from './status.ts';
import { type AgentTlsOptions, DAY_MS, identityCheck, loadTls, readPem } from './tls.ts';

/** A certificate that ends within this time is named, while there is still time. */
export const RENEW_WITHIN_DAYS = 30;

export class TlsIdentity {
  readonly #files: TlsFiles;
  readonly #onChange: (fault: RomulusError | undefined) => void;
  #seen: string;
  /** Files that were looked at and not taken. */
  #refused: string | undefined;
  #options: AgentTlsOptions;

  /**
   * TLS_INVALID when the files are no good now. `onChange` hears of files that were taken later (undefined), and of ones
   * that were not, and why.
   */
  constructor(files: TlsFiles, onChange: (fault: RomulusError | undefined) => void = () => {}) {
    this.#files = files;
    this.#onChange = onChange;
    this.#seen = stampOf(files);
    this.#options = loadTls(files);
  }

  /**
   * For the next connection; the same object as long as the files stay the same. While they are being replaced, or are no
   * good, the last good ones go on serving.
   */
  current(): AgentTlsOptions {
    const now = stampOf(this.#files);
    if (now === this.#seen) return this.#options;
    try {
      this.#options = loadTls(this.#files);
      this.#seen = now;
      this.#onChange(undefined);
    } catch (thrown) {
      // A certificate without its key yet is half of a replacement: looked at again each time, told once.
      if (now !== this.#refused) this.#onChange(asRomulusError(thrown));
      this.#refused = now;
    }
    return this.#options;
  }

  /** The certificates in use, and when they end. */
  certificates(now = Date.now()): CertificateStatus[] {
    const { cert, ca } = this.current();
    return [
      ...statusOf('node', this.#files.cert, cert as Buffer, now),
      ...statusOf('ca', this.#files.ca, ca as Buffer, now),
    ];
  }
}

/** The certificates of the files on disk, without a running agent. TLS_INVALID when one cannot be read. */
export function certificatesOf(files: TlsFiles, now = Date.now()): CertificateStatus[] {
  return [
    ...statusOf('node', files.cert, readPem(files.cert), now),
    ...statusOf('ca', files.ca, readPem(files.ca), now),
  ];
}

/** A file of several certificates, as a CA's while it is replaced, lasts as long as the one that ends last. */
function statusOf(name: 'node' | 'ca', path: string, pem: Buffer, now: number): CertificateStatus[] {
  const blocks =
    pem.toString('latin1').match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  const ends = blocks.map((block) => Date.parse(new X509Certificate(block).validTo));
  // The first of a node's file is its own, what follows its issuers'.
  const end = name === 'node' ? ends[0] : ends.reduce((latest, each) => Math.max(latest, each), 0);
  if (end === undefined || end === 0) return [];
  const expiresDays = Math.floor((end - now) / DAY_MS);
  return [
    {
      name,
      path,
      expiresAt: new Date(end).toISOString(),
      expiresDays,
      renew: expiresDays < RENEW_WITHIN_DAYS,
    },
  ];
}

/** Changes whenever one of the files is replaced or written; a file that is gone counts as changed. */
function stampOf(files: TlsFiles): string {
  return [files.ca, files.cert, files.key]
    .map((path) => {
      const stat = statSync(path, { throwIfNoEntry: false, bigint: true });
      return stat === undefined ? 'gone' : `${stat.ino}:${stat.mtimeNs}:${stat.size}`;
    })
    .join(' ');
}

/**
 * For dialling `peer`, again and again with the same object: whoever copies it gets the certificates of that moment, and
 * the check that it is this peer that answers.
 */
export function dialWith(current: () => AgentTlsOptions, peer: string): ConnectionOptions {
  return {
    get secureContext() {
      return createSecureContext(current());
    },
    // Said again here, as these belong to the connection and not to the context.
    minVersion: 'TLSv1.3',
    rejectUnauthorized: true,
    checkServerIdentity: identityCheck(peer),
  };
}
