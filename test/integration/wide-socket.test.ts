/** Large reads of plain TCP: what `ws` hands on is what was sent, and the connection ends as any other. */

import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { MAX_FRAME_BYTES } from '../../shared/limits.ts';
import { releaseMessage } from '../../shared/wire/slabs.ts';
import { replicationServer, socketOptions } from '../../shared/wire/socket.ts';
import { widen } from '../../shared/wire/wide-socket.ts';

const REQUEST = [
  'GET / HTTP/1.1',
  'Host: backup',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  '\r\n',
].join('\r\n');

let server: Server;
let port: number;
/** The server's end of the connection, once it is there. */
let accepted: Promise<WebSocket>;
let onMessage: (message: Buffer) => void;

beforeEach(async () => {
  server = createServer();
  const sockets = replicationServer();
  accepted = new Promise((resolve) => {
    server.on('upgrade', (request, socket: Socket, head) => {
      const wide = widen(socket, head, MAX_FRAME_BYTES);
      expect(wide.socket).not.toBe(socket);
      sockets.handleUpgrade(request, wide.socket, wide.head, (backup) => {
        backup.on('message', (message: Buffer) => onMessage(message)); // in this turn, as messages may wait already
        resolve(backup);
      });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  port = (server.address() as AddressInfo).port;
});

afterEach(() => server.close());

async function dialled(): Promise<[client: WebSocket, backup: WebSocket]> {
  const client = new WebSocket(`ws://127.0.0.1:${port}/`, socketOptions);
  return [client, await accepted];
}

describe('a widened connection', () => {
  it('brings messages of all sizes as they were sent, in memory that is used again', async () => {
    const [client] = await dialled();
    const sizes = [3, 1_040_000, 70_000, 0, 1_040_000, 20_000];
    const memory = new Set<ArrayBufferLike>();
    let next = 0;
    const all = new Promise<void>((resolve) => {
      onMessage = (message) => {
        const bytes = sizes[next % sizes.length] as number;
        expect(message.equals(Buffer.alloc(bytes, next))).toBe(true);
        if (bytes > 1_000_000) memory.add(message.buffer);
        releaseMessage(message);
        next += 1;
        if (next === 20 * sizes.length) resolve();
      };
    });
    if (client.readyState !== WebSocket.OPEN) await once(client, 'open');
    for (let i = 0; i < 20 * sizes.length; i++)
      client.send(Buffer.alloc(sizes[i % sizes.length] as number, i));
    await all;
    expect(memory.size).toBeLessThan(5);
    client.terminate();
  });

  it('loses nothing of what came along with the request', async () => {
    const stranger = connect(port, '127.0.0.1');
    // Two masked frames of three bytes, the second of which is not whole yet.
    const frame = Buffer.from('828300000000616263', 'hex');
    stranger.write(Buffer.concat([Buffer.from(REQUEST), frame, frame.subarray(0, 5)]));
    const messages: string[] = [];
    const both = new Promise<void>((resolve) => {
      onMessage = (message) => {
        if (messages.push(String(message)) === 2) resolve();
      };
    });
    await accepted;
    stranger.write(frame.subarray(5));
    await both;
    expect(messages).toEqual(['abc', 'abc']);
    stranger.destroy();
  });

  it('takes no more from the network while nobody reads', async () => {
    const [client, backup] = await dialled();
    if (client.readyState !== WebSocket.OPEN) await once(client, 'open');
    backup.pause();
    const sends = 64;
    let taken = 0;
    for (let i = 0; i < sends; i++) client.send(Buffer.alloc(1_000_000), () => taken++);
    // What the kernel holds on both sides is taken by the time the first can be taken no more.
    for (let before = -1; before !== taken; await new Promise(setImmediate)) before = taken;
    expect(taken).toBeLessThan(sends);
    const all = new Promise<void>((resolve) => {
      let received = 0;
      onMessage = () => {
        received += 1;
        if (received === sends) resolve();
      };
    });
    backup.resume();
    await all;
    expect(taken).toBe(sends);
    client.terminate();
  });

  it('ends at both ends when either ends it', async () => {
    const [client, backup] = await dialled();
    if (client.readyState !== WebSocket.OPEN) await once(client, 'open');
    client.terminate();
    await once(backup, 'close');
    const closed = new Promise((resolve) => server.close(resolve));
    await closed;
  });
});
