/** A private CA and node certificates, made by the openssl command: EC P-256, names in the subjectAltName. */

import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import * as v from 'valibot';
import { NameSchema } from '../shared/config/schema.ts';
import { RomulusError } from '../shared/errors.ts';
import { expiryDays } from '../shared/tls.ts';

const run = promisify(execFile);

export const CA_DAYS = 3650;
export const NODE_DAYS = 825;

/** Paths are absolute; the three of `tls` go into agent.yaml as they are. */
export interface Certificates {
  node: string;
  addresses: string[];
  tls: { ca: string; cert: string; key: string };
  /** Kept apart: needed only to make further certificates, so it belongs on no host that runs an agent. */
  caKey: string;
  caCreated: boolean;
  expiresDays: number;
}

/**
 * Makes DIR/ca.crt and DIR/ca-private/ca.key once, and DIR/NAME.crt with DIR/NAME.key each time: an existing
 * node certificate is replaced, which is how one is renewed. It is good for `days` from now.
 */
export async function makeCertificates(
  dir: string,
  node: string,
  addresses: string[],
  days = NODE_DAYS,
): Promise<Certificates> {
  if (!v.is(NameSchema, node)) {
    throw new RomulusError('USAGE', `"${node}" is not a node name`, {
      hint: 'use letters, digits, ".", "_" and "-", at most 64',
    });
  }
  const altNames = [`DNS:${node}`, ...addresses.map(altName)];
  const folder = resolve(dir);
  const caDir = join(folder, 'ca-private');
  const paths = {
    ca: join(folder, 'ca.crt'),
    caKey: join(caDir, 'ca.key'),
    cert: join(folder, `${node}.crt`),
    key: join(folder, `${node}.key`),
  };
  await mkdir(caDir, { recursive: true, mode: 0o700 });
  const caCreated = !existsSync(paths.ca);
  if (caCreated) await makeCa(paths);
  else if (!existsSync(paths.caKey)) {
    throw new RomulusError('TLS_INVALID', `${paths.ca} is there, but its key ${paths.caKey} is not`, {
      hint: `run this where the CA was made, or move ${paths.ca} away to start a new one`,
    });
  }
  await makeNodeCertificate(folder, paths, node, altNames, days);
  return {
    node,
    addresses,
    tls: { ca: paths.ca, cert: paths.cert, key: paths.key },
    caKey: paths.caKey,
    caCreated,
    expiresDays: expiryDays(paths.cert),
  };
}

type Paths = { ca: string; caKey: string; cert: string; key: string };

async function makeCa(paths: Paths): Promise<void> {
  const extensions = ['basicConstraints=critical,CA:TRUE,pathlen:0', 'keyUsage=critical,keyCertSign,cRLSign'];
  await newKey(paths.caKey);
  await openssl(
    ['req', '-x509', '-new', '-sha256', '-key', paths.caKey, '-days', String(CA_DAYS)],
    ['-subj', '/CN=Romulus private CA', '-out', paths.ca],
    extensions.flatMap((extension) => ['-addext', extension]),
  );
}

async function makeNodeCertificate(
  folder: string,
  paths: Paths,
  node: string,
  altNames: string[],
  days: number,
): Promise<void> {
  const work = await mkdtemp(join(folder, '.new-'));
  const at = (name: string) => join(work, name);
  try {
    await newKey(at('key'));
    await openssl(['req', '-new', '-sha256', '-key', at('key'), '-subj', `/CN=${node}`, '-out', at('csr')]);
    await writeFile(
      at('extensions'),
      [
        'basicConstraints=critical,CA:FALSE',
        'keyUsage=critical,digitalSignature',
        'extendedKeyUsage=serverAuth,clientAuth',
        'authorityKeyIdentifier=keyid',
        `subjectAltName=${altNames.join(',')}`,
      ].join('\n'),
    );
    await openssl(
      ['x509', '-req', '-sha256', '-in', at('csr'), '-CA', paths.ca, '-CAkey', paths.caKey],
      ['-set_serial', `0x${randomSerial()}`, '-days', String(days)],
      ['-extfile', at('extensions'), '-out', at('crt')],
    );
    await chmod(at('crt'), 0o644);
    await rename(at('key'), paths.key);
    await rename(at('crt'), paths.cert);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** The file exists with mode 0600 before the key is written into it. */
async function newKey(path: string): Promise<void> {
  await writeFile(path, '', { mode: 0o600 });
  await chmod(path, 0o600);
  await openssl(['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', path]);
}

/** 127 random bits, so that the serial is positive and never repeats. */
function randomSerial(): string {
  return `4${randomBytes(16).toString('hex').slice(1)}`;
}

function altName(address: string): string {
  if (isIP(address)) return `IP:${address}`;
  if (/^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(address) && address.length <= 253)
    return `DNS:${address}`;
  throw new RomulusError('USAGE', `"${address}" is neither an IP address nor a host name`, {
    hint: 'romulus certs DIR --node NAME --address 192.0.2.1',
  });
}

async function openssl(...args: string[][]): Promise<void> {
  try {
    await run('openssl', args.flat());
  } catch (cause) {
    const { code, stderr } = cause as { code?: string; stderr?: string };
    if (code === 'ENOENT') {
      throw new RomulusError('PREREQUISITE', 'the openssl command is missing', {
        hint: 'apt-get install -y openssl',
        cause,
      });
    }
    throw new RomulusError(
      'TLS_INVALID',
      `openssl ${args[0]?.[0]} failed: ${stderr?.trim().split('\n').at(-1)}`,
      {
        hint: 'romulus doctor',
        cause,
      },
    );
  }
}
