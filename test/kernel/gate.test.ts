/** The gate contract for the kernel's own `plug`, the whole way: tap, redirection, IFB device, queue, and out on this host. */

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { engine } from '../../native/index.ts';
import { KernelGate } from '../../primary/output/kernel.ts';
import { ifbName } from '../../shared/net/ifb.ts';
import { gateContract } from '../contract/gate.ts';
import { makeRelay, TAP } from '../support/relay.ts';
import { datagramFrame } from '../support/tap.ts';

function receivedOn(device: string): number {
  return Number(readFileSync(`/sys/class/net/${device}/statistics/rx_packets`, 'utf8'));
}

/** A relay that lets all pass stands for the guest: what it writes into the tap is what the kernel gate must hold. */
async function makeKernelGate() {
  const { gate: wire, guest, outside, dispose: disposeWire } = await makeRelay();
  wire.openUnprotected();
  const gate = new KernelGate(TAP);
  gate.attach();
  /** All that was sent is held or has been heard. */
  const send = async (text: string) => {
    const before = gate.held().packets + outside.heard.length;
    await guest.send(datagramFrame(text));
    while (gate.held().packets + outside.heard.length <= before) await new Promise(setImmediate);
  };
  const dispose = async () => {
    gate.detach();
    await disposeWire();
    // The tap went with the relay; the IFB device stays where its queue held back.
    if (existsSync(`/sys/class/net/${ifbName(TAP)}`)) execFileSync('ip', ['link', 'delete', ifbName(TAP)]);
  };
  return { gate, guest, outside, send, dispose };
}

gateContract('kernel, on sch_plug', async () => {
  const { gate, outside, send, dispose } = await makeKernelGate();
  return { gate, send, left: (count) => outside.hears(count), dispose };
});

describe('the kernel gate, on sch_plug', () => {
  it('stays shut when its agent is gone, and begins anew with the next', async () => {
    const { gate, outside, send, dispose } = await makeKernelGate();
    await send('of the first agent');
    gate.seal(1);
    gate.detach();
    const next = new KernelGate(TAP);
    next.attach();
    next.openUnprotected();
    await outside.hears(0);
    expect(outside.heard).toEqual([]);
    next.detach();
    await dispose();
  });

  it('lets nothing past while another agent takes its place, again and again', async () => {
    const { gate, guest, outside, send, dispose } = await makeKernelGate();
    const [rounds, burst] = [20, 50];
    const before = receivedOn(TAP);
    for (let round = 0; round < rounds; round++) {
      const sent = guest.send(...Array.from({ length: burst }, () => datagramFrame('unheard')));
      gate.attach();
      await sent;
    }
    while (receivedOn(TAP) - before < rounds * burst) await new Promise(setImmediate);
    await send('the last of them');
    gate.discard();
    gate.openUnprotected();
    await send('end');
    expect(await outside.hears(1)).toEqual(['end']);
    await dispose();
  });

  it('is gone, with its device, when it lets go while all passes', async () => {
    const { gate, outside, send, dispose } = await makeKernelGate();
    gate.openUnprotected();
    gate.detach();
    expect(existsSync(`/sys/class/net/${ifbName(TAP)}`)).toBe(false);
    gate.attach();
    gate.openUnprotected();
    await send('heard');
    expect(await outside.hears(1)).toEqual(['heard']);
    await dispose();
  });

  it('lets a thousand packets out at once', async () => {
    writeFileSync('/proc/sys/net/core/rmem_max', `${8 * 1024 * 1024}`); // for who hears them, not for the gate
    const { gate, guest, outside, dispose } = await makeKernelGate();
    const [packets, burst] = [1000, 100]; // more at once, and the host's own backlog drops some on the way in
    for (let sent = 0; sent < packets; sent += burst) {
      await guest.send(...Array.from({ length: burst }, (_, i) => datagramFrame(`p${sent + i}`)));
      // This host's own multicast is held too.
      while (gate.held().packets < sent + burst) await new Promise(setImmediate);
    }
    gate.seal(1);
    gate.release(1, engine().bootTimeMs() + 60_000);
    expect(await outside.hears(packets)).toHaveLength(packets);
    await dispose();
  });
});
