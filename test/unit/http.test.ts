/** The local API: one owner, one socket, bounded requests, and errors that arrive as they were thrown. */

import { once } from 'node:events';
import { linkSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AgentClient } from '../../cli/client.ts';
import { RomulusError } from '../../shared/errors.ts';
import { type ApiServer, type Routes, readEvents, serveApi, TextAnswer } from '../../shared/http.ts';
import { MAX_API_BODY_BYTES } from '../../shared/limits.ts';

let folder: string;
let socketPath: string;
let server: ApiServer | undefined;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'romulus-http-'));
  socketPath = join(folder, 'run', 'agent.sock');
});
afterEach(async () => {
  await server?.close();
  server = undefined;
  rmSync(folder, { recursive: true });
});

async function serve(routes: Routes): Promise<AgentClient> {
  server = await serveApi(socketPath, routes);
  return new AgentClient(socketPath);
}

/** A request as no client of ours would send it. */
async function raw(
  method: string,
  path: string,
  body: string | Buffer,
  headers: Record<string, string> = {},
) {
  const call = request({ socketPath, method, path, headers, agent: false });
  call.on('error', () => undefined);
  call.end(body);
  const [response] = await once(call, 'response');
  let text = '';
  for await (const chunk of response) text += chunk;
  return { status: response.statusCode as number, text };
}

describe('a call', () => {
  it('reaches its handler with path parameter and body, and its value comes back', async () => {
    const client = await serve({
      'GET /v1/vms/:vm': ({ params }) => ({ vm: params.vm }),
      'POST /v1/protect': async ({ body }) => ({ asked: body }),
    });
    expect(await client.vm('a b/c')).toEqual({ vm: 'a b/c' });
    expect(await client.protect({ vm: 'web', to: 'b' })).toEqual({ asked: { vm: 'web', to: 'b' } });
  });

  it('that fails arrives as the same RomulusError, code, message and hint', async () => {
    const client = await serve({
      'POST /v1/failover': () => {
        throw new RomulusError('PRIMARY_ALIVE', 'the primary answers', { hint: 'romulus status web' });
      },
    });
    await expect(client.failover({ vm: 'web' })).rejects.toMatchObject({
      code: 'PRIMARY_ALIVE',
      message: 'the primary answers',
      hint: 'romulus status web',
      exitCode: 4,
    });
  });

  it('the agent does not know is refused with a hint', async () => {
    const client = await serve({});
    await expect(client.status()).rejects.toMatchObject({ code: 'API_UNKNOWN' });
  });

  it('to no agent names the socket and the next command', async () => {
    await expect(new AgentClient(socketPath).status()).rejects.toMatchObject({
      code: 'AGENT_UNREACHABLE',
      message: expect.stringContaining(socketPath),
      hint: expect.stringContaining('romulus agent'),
    });
  });
});

describe('a request that is no good', () => {
  beforeEach(async () => {
    await serve({ 'POST /v1/protect': () => 'taken', 'GET /metrics': () => new TextAnswer('up 1\n') });
  });

  it('larger than the limit is cut off with 413', async () => {
    const body = Buffer.alloc(MAX_API_BODY_BYTES + 1, 0x20);
    expect(await raw('POST', '/v1/protect', body, { 'content-type': 'application/json' })).toMatchObject({
      status: 413,
    });
  });

  it('that is not JSON is answered with 400', async () => {
    expect((await raw('POST', '/v1/protect', '{', { 'content-type': 'application/json' })).status).toBe(400);
    expect((await raw('POST', '/v1/protect', 'vm=web')).status).toBe(400);
  });

  it('with broken percent-encoding or an unknown path harms nothing', async () => {
    expect((await raw('GET', '/v1/%zz', '')).status).toBe(404);
    expect(await raw('GET', '/metrics', '')).toEqual({ status: 200, text: 'up 1\n' });
  });
});

describe('the socket', () => {
  it('is for its owner only', async () => {
    await serve({});
    expect(statSync(socketPath).mode & 0o777).toBe(0o600);
  });

  it('of a living agent is not taken away from it', async () => {
    const client = await serve({ 'GET /v1/status': () => ({ node: 'first' }) });
    await expect(serveApi(socketPath, {})).rejects.toMatchObject({ code: 'AGENT_RUNNING' });
    expect(await client.status()).toEqual({ node: 'first' });
  });

  it('left behind by a killed agent is replaced', async () => {
    const stale = createTcpServer().listen(join(folder, 'stale.sock'));
    await once(stale, 'listening');
    socketPath = join(folder, 'copy.sock');
    // A second name keeps the socket file when its server closes, as kill -9 would.
    linkSync(join(folder, 'stale.sock'), socketPath);
    stale.close();
    await once(stale, 'close');
    const client = await serve({ 'GET /v1/status': () => ({ node: 'next' }) });
    expect(await client.status()).toEqual({ node: 'next' });
  });

  it('is never put in the place of a file', async () => {
    socketPath = join(folder, 'file');
    writeFileSync(socketPath, 'precious');
    await expect(serveApi(socketPath, {})).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});

describe('an event stream', () => {
  it('delivers each value in order and ends with its source', async () => {
    const client = await serve({
      'GET /v1/events': async function* () {
        for (let epoch = 1; epoch <= 100; epoch += 1) yield { epoch, text: 'é\n\n' };
      },
    });
    const epochs: unknown[] = [];
    for await (const event of client.events()) epochs.push(event.epoch);
    expect(epochs).toEqual(Array.from({ length: 100 }, (_, index) => index + 1));
  });

  it('whose client leaves tells its handler, even while it waits', async () => {
    let ended: () => void = () => undefined;
    const over = new Promise<void>((resolve) => {
      ended = resolve;
    });
    const client = await serve({
      'GET /v1/events': async function* ({ signal }) {
        yield { kind: 'first' };
        await once(signal, 'abort');
        ended();
      },
    });
    for await (const _ of client.events()) break;
    await over;
  });

  it('cut into single bytes reads the same', async () => {
    const text = Buffer.from(': alive\n\ndata: {"a":"é"}\n\nevent: x\ndata: 2\n\n');
    async function* bytes() {
      for (const byte of text) yield Buffer.of(byte);
    }
    const values: unknown[] = [];
    for await (const value of readEvents(bytes())) values.push(value);
    expect(values).toEqual([{ a: 'é' }, 2]);
  });
});
