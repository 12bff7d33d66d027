/** Boots one Xen host and runs in its dom0 each line of standard input, until "exit": for working on the driver by hand. */

import { createReadStream, mkdirSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { XenHost } from './host.ts';

const [runDir, sharedDir] = process.argv.slice(2);
if (runDir === undefined || sharedDir === undefined) {
  console.error('usage: tsx test/xen/testbed/shell.ts RUN SHARED < commands');
  process.exit(2);
}
mkdirSync(runDir, { recursive: true });
const started = Date.now();
const host = await XenHost.boot({ name: 'host', runDir, sharedDir });
console.log(`up after ${Date.now() - started} ms`);
const lines = createInterface({ input: createReadStream('/dev/stdin') });
for await (const line of lines) {
  if (line === 'exit') break;
  const result = await host.finished(host.start(line), 600_000);
  console.log(`$ ${line}\n${result.output}(${result.status})`);
}
await host.powerOff();
process.exit(0); // the pending read of the pipe would keep us
