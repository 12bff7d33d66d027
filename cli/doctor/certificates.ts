/** Checks of the certificates: whole, fitting together, and not about to end. */

import type { AgentConfig } from '../../shared/config.ts';
import { asRomulusError } from '../../shared/errors.ts';
import type { CertificateStatus } from '../../shared/status.ts';
import { loadTls } from '../../shared/tls.ts';
import { certificatesOf, RENEW_WITHIN_DAYS } from '../../shared/tls-identity.ts';
import { type Finding, finding } from './finding.ts';

/** Nothing without TLS; one finding for the node's certificate, one for the CA's. */
export function checkCertificates(config: AgentConfig): Finding[] {
  if (!config.tls) return [];
  const { tls, node } = config;
  try {
    const certificates = certificatesOf(tls);
    loadTls(tls);
    return certificates.map((certificate) => checkExpiry(certificate, node));
  } catch (thrown) {
    const { message, hint } = asRomulusError(thrown);
    const texts = { found: message, needed: 'good for TLS between agents', fix: hint ?? renewal(node) };
    return [finding('certificate', 'TLS certificate', 'missing', texts)];
  }
}

function checkExpiry({ name, path, expiresDays }: CertificateStatus, node: string): Finding {
  const verdict = expiresDays >= RENEW_WITHIN_DAYS ? 'ok' : expiresDays < 0 ? 'missing' : 'absent';
  const texts = {
    found: expiresDays < 0 ? `${path} has expired` : `${expiresDays} days left`,
    needed: `at least ${RENEW_WITHIN_DAYS} days`,
    fix:
      name === 'node'
        ? renewal(node)
        : 'make a new CA beside this one, append it to this file on every host, then renew each node (docs/install.md)',
  };
  const id = name === 'node' ? 'certificate' : 'ca-certificate';
  return finding(id, name === 'node' ? 'TLS certificate' : 'certificate of the CA', verdict, texts);
}

function renewal(node: string): string {
  return `romulus certs DIR --node ${node}`;
}
