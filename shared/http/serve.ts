/** Listens on the unix socket of the local API: for its owner only, and never over the head of a living agent. */

import { once } from 'node:events';
import { chmodSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { RomulusError } from '../errors.ts';
import { apiListener, type Routes } from './routes.ts';

export interface ApiServer {
  readonly socketPath: string;
  /** Ends open connections, event streams too, and removes the socket. */
  close(): Promise<void>;
}

/** AGENT_RUNNING when an agent answers on the socket, CONFIG_INVALID when something else stands in its place. */
export async function serveApi(socketPath: string, routes: Routes): Promise<ApiServer> {
  mkdirSync(dirname(socketPath), { recursive: true, mode: 0o700 });
  await removeStaleSocket(socketPath);
  const server = createServer(apiListener(routes));
  // bind(2) happens inside listen(), so the socket never exists with wider rights, not for an instant.
  const umask = process.umask(0o177);
  try {
    server.listen(socketPath);
  } finally {
    process.umask(umask);
  }
  await once(server, 'listening');
  chmodSync(socketPath, 0o600);
  return {
    socketPath,
    async close() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function removeStaleSocket(socketPath: string): Promise<void> {
  const stat = lstatSync(socketPath, { throwIfNoEntry: false });
  if (!stat) return;
  if (!stat.isSocket()) {
    throw new RomulusError('CONFIG_INVALID', `${socketPath} exists and is not a socket`, {
      hint: 'set "api" in the config to another path',
    });
  }
  if (await answers(socketPath)) {
    throw new RomulusError('AGENT_RUNNING', `an agent already answers on ${socketPath}`, {
      hint: `romulus status --api ${socketPath}`,
    });
  }
  unlinkSync(socketPath);
}

function answers(socketPath: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketPath);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
