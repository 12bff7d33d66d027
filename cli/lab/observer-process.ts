/** The observer's own process, in the lab's segment: broadcasts a request every few milliseconds, prints each answer as a line. */

import { createSocket } from 'node:dgram';
import type { Saying } from './history.ts';

const PORT = 7003;
const BROADCAST = '10.77.0.255';
/** Broadcast, so that every copy that lives hears every request. */
const INTERVAL_MS = 5;
const NONCE_BYTES = 8;
/** An answer that comes later than this belongs to a request this process has forgotten; it is told without its beginning. */
const MAX_REMEMBERED = 20_000;

const sent = new Map<number, number>();
let nonce = 0;

const socket = createSocket('udp4');
socket.on('message', (data) => {
  const atMs = performance.now();
  const request = Number(data.readBigUInt64LE(0));
  const saying: Saying = {
    request,
    sentMs: sent.get(request) ?? 0,
    atMs,
    count: Number(data.readBigUInt64LE(NONCE_BYTES)),
  };
  process.stdout.write(`${JSON.stringify(saying)}\n`);
});
socket.on('error', () => {}); // a send that fails is a request nobody heard
socket.bind(() => {
  socket.setBroadcast(true);
  setInterval(() => {
    nonce += 1;
    const request = Buffer.alloc(NONCE_BYTES);
    request.writeBigUInt64LE(BigInt(nonce));
    sent.set(nonce, performance.now());
    sent.delete(nonce - MAX_REMEMBERED);
    socket.send(request, PORT, BROADCAST, () => {});
  }, INTERVAL_MS);
});
