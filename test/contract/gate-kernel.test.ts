/** The gate contract for `plug`, against its behaviour as measured on Debian's kernel (test/support/plug.ts). */

import { expect, it } from 'vitest';
import { engine } from '../../native/index.ts';
import { KernelGate } from '../../primary/output/kernel.ts';
import { FakePlug } from '../support/plug.ts';
import { gateContract } from './gate.ts';

gateContract('kernel', async () => {
  const plug = new FakePlug();
  const gate = new KernelGate('vif1.0', plug.request);
  gate.attachTo(7);
  return {
    gate,
    send: async (text) => plug.send(text),
    left: async () => plug.out,
    dispose: async () => gate.detach(),
  };
});

it('keeps an epoch whose permit ran out on the way to the kernel, for the next permit', () => {
  const plug = new FakePlug();
  let late = true;
  const gate = new KernelGate('vif1.0', (request, untilMs) => {
    if (untilMs === undefined || !late) return plug.request(request);
    late = false;
    throw Object.assign(new Error('ETIME: the permit has run out'), { code: 'ETIME' });
  });
  gate.attachTo(7);
  plug.send('kept');
  gate.seal(1);
  const permit = () => engine().bootTimeMs() + 60_000;
  gate.release(1, permit());
  expect(plug.out).toEqual([]);
  plug.send('later');
  gate.seal(2);
  gate.release(2, permit());
  // One barrier at a time: what came after the first seal leaves with the next.
  expect(plug.out).toEqual(['kept']);
  gate.seal(3);
  gate.release(3, permit());
  expect(plug.out).toEqual(['kept', 'later']);
});
