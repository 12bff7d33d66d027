/** The other process of the wire benchmark: a backup that receives epochs, and a raw TCP port that answers each MiB. */

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { ReplayTarget } from '../backup/hypervisor/replay.ts';
import { listen } from '../backup/listener.ts';
import { Standby } from '../backup/standby.ts';
import { TermFile } from '../shared/control/terms.ts';

/** Answers one byte for each `unit` bytes that came. */
function rawPort(unit: number): Promise<number> {
  const server = createServer((socket) => {
    socket.setNoDelay();
    let left = unit;
    socket.on('data', (data) => {
      left -= data.length;
      for (; left <= 0; left += unit) socket.write('a');
    });
  });
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
  });
}

const dir = mkdtempSync(join(tmpdir(), 'romulus-wire-'));
const image = mkdtempSync('/dev/shm/romulus-wire-');
const standby = new Standby({
  vm: 'wire',
  dataDir: join(dir, 'data'),
  imageDir: join(image, 'image'),
  runDir: join(dir, 'run'),
  threads: 1,
  durability: 'memory',
  node: 'backup',
  overrides: {},
  openTarget: async () => new ReplayTarget(),
  term: await TermFile.open(join(dir, 'data', 'term')),
  log: pino({ level: 'silent' }),
  onEvent: () => {},
});
const listener = await listen({
  listen: { host: '127.0.0.1', port: 0 },
  node: 'backup',
  silenceMs: 30_000,
  standbyFor: async () => standby,
});
process.once('disconnect', () => {
  for (const each of [dir, image]) rmSync(each, { recursive: true, force: true });
  process.exit(0);
});
process.send?.({ agentPort: listener.endpoint.port, rawPort: await rawPort(Number(process.argv[2])) });
