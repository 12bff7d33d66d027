/** Runs in dom0 of a host that stays: asks the guest's service over one TCP connection, one question after the other, and says what came back when. */

import { connect } from 'node:net';
import { createInterface } from 'node:readline';

const PAUSE_MS = 250;

const [host = '', port = '7'] = process.argv.slice(2);
const socket = connect(Number(port), host);
socket.setNoDelay(true);
socket.setKeepAlive(false);
let asked = 0;
let askedMs = performance.now();
const ask = (): void => {
  asked += 1;
  askedMs = performance.now();
  socket.write(`question ${asked}\n`);
};
socket.on('connect', () => {
  console.log(`connected from ${socket.localPort}`);
  ask();
});
createInterface({ input: socket }).on('line', (line) => {
  const wanted = line.endsWith(`question ${asked}`);
  console.log(`${wanted ? 'answer' : 'WRONG'} ${asked} after ${Math.round(performance.now() - askedMs)} ms`);
  setTimeout(ask, PAUSE_MS); // the hosts' one processor has other things to do
});
socket.on('error', (error) => console.log(`ended: ${error.message}`));
socket.on('close', () => {
  console.log('ended');
  process.exit(1);
});
