/**
 * Runs in dom0: the kernel gate on a guest's vif, told what to do by words on the command line, in order. After each word
 * it prints how many packets are held, and how many the bridge has had from the guest. "die" ends it as kill -9 does.
 */

import { readFileSync } from 'node:fs';
import { engine } from '../../../native/index.ts';
import { KernelGate } from '../../../primary/output/kernel.ts';

const [vif = '', bridge = '', ...words] = process.argv.slice(2);
const gate = new KernelGate(vif);
const permit = () => engine().bootTimeMs() + 60_000;
const seen = () => Number(readFileSync(`/sys/class/net/${bridge}/statistics/rx_packets`, 'utf8'));

let attached = false;
for (const word of words) {
  const [what = '', argument = '1'] = word.split('=');
  const act: Record<string, () => unknown> = {
    attach: () => {
      for (let times = 0; times < Number(argument); times++) gate.attach();
      attached = true;
    },
    seal: () => gate.seal(Number(argument)),
    release: () => gate.release(Number(argument), permit()),
    late: () => gate.release(Number(argument), engine().bootTimeMs() - 1),
    open: () => gate.openUnprotected(),
    discard: () => gate.discard(),
    wait: () => new Promise((resolve) => setTimeout(resolve, Number(argument))),
    detach: () => {
      gate.detach();
      attached = false;
    },
    die: () => process.kill(process.pid, 'SIGKILL'),
  };
  await act[what]?.();
  const { packets } = attached ? gate.held() : { packets: 0 };
  console.log(JSON.stringify({ word, held: packets, seen: seen() }));
}
