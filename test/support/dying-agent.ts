/** An agent that pauses the guest for a checkpoint, says so on stdout, and waits to be killed. Argument: a JSON of VmSpec and place. */

import { QemuSource } from '../../primary/hypervisor/qemu.ts';

const { spec, place, fence } = JSON.parse(process.argv[2] ?? '');
const source = new QemuSource(spec, place);
await source.attach();
if (fence) await source.fence();
else await source.pause();
console.log('paused');
setInterval(() => undefined, 1000);
