/** A peer may speak in the same breath in which it accepts: nothing of that is lost. */

import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { expect, it } from 'vitest';
import { dial, replicationServer } from '../../shared/wire/socket.ts';

it('a dialled socket hears what came together with the answer to its handshake', async () => {
  const sockets = replicationServer();
  const server = createServer();
  server.on('upgrade', (request, socket: Socket, head) => {
    socket.cork();
    sockets.handleUpgrade(request, socket, head, (accepted) => {
      for (const word of ['one', 'two', 'three']) accepted.send(Buffer.from(word));
      socket.uncork();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const heard = await dial({ host: '127.0.0.1', port }, undefined, (socket) => {
    const words: string[] = [];
    return new Promise<string[]>((resolve) =>
      socket.on('message', (data: Buffer) => {
        words.push(data.toString());
        if (words.length < 3) return;
        socket.terminate();
        resolve(words);
      }),
    );
  });
  expect(heard).toEqual(['one', 'two', 'three']);
  server.close();
});
