/** The port for Prometheus: metrics to whoever shows the token, and nothing to anybody else. */

import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openScrapePort, type ScrapePort } from '../../cli/agent/scrape-port.ts';
import { makeCertificates } from '../../cli/certificates.ts';
import { TextAnswer } from '../../shared/http.ts';
import { loadTls } from '../../shared/tls.ts';

const TOKEN = '0123456789abcdef0123456789abcdef';
const listen = { host: '127.0.0.1', port: 0 };
const scrape = async () => new TextAnswer('up 1\n');

let dir: string;
let tokenFile: string;
let port: ScrapePort | undefined;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'romulus-scrape-'));
  tokenFile = join(dir, 'token');
  writeFileSync(tokenFile, `${TOKEN}\n`, { mode: 0o600 });
});
afterEach(async () => {
  await port?.close();
  port = undefined;
  rmSync(dir, { recursive: true });
});

async function start(): Promise<number> {
  port = await openScrapePort({ listen, tokenFile }, undefined, scrape);
  return port.endpoint.port;
}

function get(
  on: number,
  path: string,
  authorization?: string,
  method = 'GET',
  ca?: Buffer,
): Promise<{ status: number; text: string }> {
  const options = { port: on, host: '127.0.0.1', path, method, agent: false };
  const headers = authorization === undefined ? {} : { authorization };
  return new Promise((resolve, reject) => {
    const send = ca === undefined ? plainRequest : tlsRequest;
    const call = send({ ...options, headers, ...(ca && { ca, servername: 'a' }) }, (response) => {
      let text = '';
      response.on('data', (data) => {
        text += data;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    call.on('error', reject);
    call.end();
  });
}

describe('a scrape', () => {
  it('with the token gets the metrics', async () => {
    expect(await get(await start(), '/metrics', `Bearer ${TOKEN}`)).toEqual({ status: 200, text: 'up 1\n' });
  });

  it.each([
    ['no token', undefined],
    ['another token', 'Bearer ffffffffffffffffffffffffffffffff'],
    ['the beginning of the token', `Bearer ${TOKEN.slice(0, -1)}`],
    ['more than the token', `Bearer ${TOKEN}0`],
    ['an empty token', 'Bearer '],
    ['another scheme', `Basic ${TOKEN}`],
  ])('with %s gets 401 and no word of them', async (_, authorization) => {
    expect(await get(await start(), '/metrics', authorization)).toEqual({ status: 401, text: '' });
  });

  it('of anything but /metrics finds nothing: the orders of the local API are not there', async () => {
    const on = await start();
    expect((await get(on, '/v1/status', `Bearer ${TOKEN}`)).status).toBe(404);
    expect((await get(on, '/v1/failover', `Bearer ${TOKEN}`, 'POST')).status).toBe(404);
    expect((await get(on, '/v1/status')).status).toBe(401);
  });

  it('after the token was changed needs the new one, without a restart', async () => {
    const on = await start();
    writeFileSync(tokenFile, 'f'.repeat(32));
    expect((await get(on, '/metrics', `Bearer ${TOKEN}`)).status).toBe(401);
    expect((await get(on, '/metrics', `Bearer ${'f'.repeat(32)}`)).status).toBe(200);
    rmSync(tokenFile);
    expect((await get(on, '/metrics', `Bearer ${'f'.repeat(32)}`)).status).toBe(401);
  });
});

describe('the port', () => {
  it('is not opened with a token that others can read, that is short, or not there', async () => {
    const opened = () => openScrapePort({ listen, tokenFile }, undefined, scrape);
    chmodSync(tokenFile, 0o640);
    await expect(opened()).rejects.toMatchObject({ code: 'CONFIG_INVALID', hint: `chmod 600 ${tokenFile}` });
    chmodSync(tokenFile, 0o600);
    writeFileSync(tokenFile, 'short');
    await expect(opened()).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    rmSync(tokenFile);
    await expect(opened()).rejects.toMatchObject({ code: 'CONFIG_INVALID', message: /ENOENT/ });
  });

  it('off loopback needs TLS, and speaks it with the certificate of the moment', async () => {
    const everywhere = { listen: { host: '0.0.0.0', port: 0 }, tokenFile };
    await expect(openScrapePort(everywhere, undefined, scrape)).rejects.toMatchObject({
      code: 'TLS_REQUIRED',
    });
    const { tls } = await makeCertificates(join(dir, 'pki'), 'a', ['127.0.0.1']);
    port = await openScrapePort(everywhere, () => loadTls(tls), scrape);
    const on = port.endpoint.port;
    const ca = readFileSync(tls.ca);
    expect((await get(on, '/metrics', `Bearer ${TOKEN}`, 'GET', ca)).status).toBe(200);
    expect((await get(on, '/metrics', undefined, 'GET', ca)).status).toBe(401);
    await expect(get(on, '/metrics', `Bearer ${TOKEN}`)).rejects.toThrow();
  });

  it('puts out a caller whose request never ends', async () => {
    const socket = connect(await start(), '127.0.0.1', () => socket.write('GET /metrics HTTP/1.1\r\nX: '));
    socket.on('error', () => undefined);
    socket.resume();
    await new Promise((resolve) => socket.once('close', resolve));
  });
});
