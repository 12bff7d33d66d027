/** A relay in a process of its own, told by lines what to do, so that a test can stop and kill it. */

import { createInterface } from 'node:readline';
import { RelayGate } from '../../primary/output/relay.ts';

const [tap = '', socketPath = ''] = process.argv.slice(2);
const gate = new RelayGate({ tap, mac: '52:54:00:78:00:02' }, socketPath);
process.stdout.write('ready\n');

for await (const line of createInterface({ input: process.stdin })) {
  const [verb, epoch, untilMs] = line.split(' ');
  if (verb === 'attach') gate.attach();
  else if (verb === 'seal') gate.seal(Number(epoch));
  else if (verb === 'release') gate.release(Number(epoch), Number(untilMs));
  process.stdout.write(`${verb} ${gate.held().packets}\n`);
}
