/** The other process of the wire benchmark: a backup that receives epochs, and ports that only answer what came: raw TCP, raw TLS, `ws`. */

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import { pino } from 'pino';
import { ReplayTarget } from '../backup/hypervisor/replay.ts';
import { listen } from '../backup/listener.ts';
import { Standby } from '../backup/standby.ts';
import type { TlsFiles } from '../shared/config/parse.ts';
import { TermFile } from '../shared/control/terms.ts';
import { MAX_FRAME_BYTES } from '../shared/limits.ts';
import { type AgentTlsOptions, loadTls } from '../shared/tls.ts';
import { releaseMessage } from '../shared/wire/slabs.ts';
import { replicationServer } from '../shared/wire/socket.ts';
import { widen } from '../shared/wire/wide-socket.ts';

/** Answers one byte for each `unit` bytes that came. */
function rawPort(unit: number, tls?: AgentTlsOptions): Promise<number> {
  const onSocket = (socket: Socket) => {
    socket.setNoDelay();
    let left = unit;
    socket.on('data', (data) => {
      left -= data.length;
      for (; left <= 0; left += unit) socket.write('a');
    });
  };
  return open(tls ? createTlsServer(tls, onSocket) : createServer(onSocket));
}

/** Answers each message, received as a backup receives it. */
function webSocketPort(): Promise<number> {
  const sockets = replicationServer();
  const server = createHttpServer();
  server.on('upgrade', (request, socket: Socket, head) => {
    const wide = widen(socket, head, MAX_FRAME_BYTES);
    sockets.handleUpgrade(request, wide.socket, wide.head, (webSocket) => {
      webSocket.on('message', (message: Buffer) => {
        releaseMessage(message);
        webSocket.send('a');
      });
    });
  });
  return open(server);
}

function open(server: Server): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
  });
}

const dir = mkdtempSync(join(tmpdir(), 'romulus-wire-'));
const image = mkdtempSync('/dev/shm/romulus-wire-');

async function agentPort(name: string, tls?: AgentTlsOptions): Promise<number> {
  const standby = new Standby({
    vm: 'wire',
    dataDir: join(dir, name, 'data'),
    imageDir: join(image, name),
    runDir: join(dir, name, 'run'),
    threads: 1,
    durability: 'memory',
    node: 'backup',
    overrides: {},
    openTarget: async () => new ReplayTarget(),
    term: await TermFile.open(join(dir, name, 'data', 'term')),
    log: pino({ level: 'silent' }),
    onEvent: () => {},
  });
  const listener = await listen({
    listen: { host: '127.0.0.1', port: 0 },
    node: 'backup',
    silenceMs: 30_000,
    standbyFor: async () => standby,
    ...(tls && { tls: () => tls }),
  });
  return listener.endpoint.port;
}

process.once('disconnect', () => {
  for (const each of [dir, image]) rmSync(each, { recursive: true, force: true });
  process.exit(0);
});
const unit = Number(process.argv[2]);
const tls = loadTls(JSON.parse(process.argv[3] ?? '') as TlsFiles);
process.send?.({
  agentPort: await agentPort('plain'),
  agentTlsPort: await agentPort('tls', tls),
  rawPort: await rawPort(unit),
  rawTlsPort: await rawPort(unit, tls),
  webSocketPort: await webSocketPort(),
});
