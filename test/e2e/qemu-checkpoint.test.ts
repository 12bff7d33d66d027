/** One checkpoint of a real guest outlives its QEMU, and no death of an agent stops the guest. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { QemuTarget } from '../../backup/hypervisor/qemu.ts';
import { QemuSource } from '../../primary/hypervisor/qemu.ts';
import { qemuFiles } from '../../shared/hypervisor/qemu-args.ts';
import { findQemu, killQemu } from '../../shared/hypervisor/qemu-process.ts';
import { checkpointByHand } from '../support/checkpoint.ts';
import { makeForeignGuest, makeQemuGuest, type QemuGuest } from '../support/qemu-guest.ts';
import { isFault, serialLines, ticksOf, waitForLog, waitForTicks } from '../support/serial-log.ts';

const dyingAgent = fileURLToPath(new URL('../support/dying-agent.ts', import.meta.url));

describe('a QEMU guest', () => {
  let guest: QemuGuest;

  beforeEach(async () => {
    guest = await makeQemuGuest();
  });
  afterEach(() => guest.dispose());

  async function boot() {
    const source = guest.open();
    await source.attach();
    await waitForTicks(guest.serialLog, 3);
    return source;
  }

  /** Runs an agent until it has paused the guest, then kills it. */
  async function killPausingAgent(fence: boolean): Promise<void> {
    const job = JSON.stringify({
      spec: guest.spec,
      place: { runDir: guest.dir, preloadPath: guest.preloadPath },
      fence,
    });
    const agent = spawn(process.execPath, ['--import', 'tsx', dyingAgent, job], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(agent.stdout, 'data');
    agent.kill('SIGKILL');
    await once(agent, 'exit');
  }

  it('goes on at the standby from its checkpoint after kill -9 of its QEMU', async () => {
    const source = await boot();
    const standbyLog = join(guest.dir, 'standby.log');
    const target = new QemuTarget({ preloadPath: guest.preloadPath });
    try {
      const { files, statePath } = await checkpointByHand(source, join(guest.dir, 'standby'));
      const reached = ticksOf(serialLines(guest.serialLog)).at(-1) ?? 0;
      await target.prepare({ ...guest.spec, serialLog: standbyLog }, files);
      const ended = new Promise((resolve) => source.onGuestEnd(resolve));
      process.kill(source.pid, 'SIGKILL');
      expect(await ended).toBe('gone');
      await target.start(statePath);
      await waitForLog(standbyLog, (lines) => ticksOf(lines).length >= 20 || lines.some(isFault));
      const lines = serialLines(standbyLog);
      expect(lines.filter(isFault)).toEqual([]);
      const ticks = ticksOf(lines);
      expect(ticks.every((tick, i) => i === 0 || tick === (ticks[i - 1] ?? 0) + 1)).toBe(true);
      expect(Math.abs((ticks[0] ?? 0) - reached)).toBeLessThanOrEqual(2);
    } finally {
      await target.stop();
      await source.detach();
    }
  });

  it('can be protected in its turn once promoted', async () => {
    const source = await boot();
    const target = new QemuTarget({ preloadPath: guest.preloadPath });
    const standbyLog = join(guest.dir, 'standby.log');
    const promoted = { ...guest.spec, name: 'promoted', serialLog: standbyLog };
    try {
      const { files, statePath } = await checkpointByHand(source, join(guest.dir, 'standby'));
      await source.detach();
      // Where a Source of that name looks for its guest.
      await target.prepare(promoted, { ...files, runDir: join(guest.dir, promoted.name) });
      await target.start(statePath);
      const reverse = new QemuSource(promoted, { runDir: guest.dir, preloadPath: guest.preloadPath });
      await reverse.attach({ mayStart: false });
      expect(reverse.pid).toBe(target.pid);
      expect(reverse.trackingReason).toBe(undefined);
      expect(reverse.kept).toBe(true);
      const again = await checkpointByHand(reverse, join(guest.dir, 'second'));
      expect(readFileSync(again.statePath).length).toBeGreaterThan(0);
      await waitForTicks(standbyLog, 3);
      expect(serialLines(standbyLog).filter(isFault)).toEqual([]);
      await reverse.detach();
    } finally {
      await target.stop();
    }
  });

  it('runs on when its agent is killed in the middle of a checkpoint, and serves the next agent', async () => {
    await (await boot()).detach();
    await killPausingAgent(false);
    await waitForTicks(guest.serialLog, 5);
    const source = guest.open();
    await source.attach();
    expect(await source.guestState()).toBe('running');
    await source.detach();
  });

  it('stays paused when it was fenced, though its agent is killed and another comes', async () => {
    await (await boot()).detach();
    await killPausingAgent(true);
    const source = guest.open();
    await source.attach();
    expect(await source.guestState()).toBe('paused');
    await source.detach();
  });

  it('is not booted anew by an agent of a host where it was fenced', async () => {
    const source = await boot();
    await source.fence();
    const qemu = await findQemu(qemuFiles(join(guest.dir, guest.spec.name)).record);
    if (qemu) await killQemu(qemu);
    await source.detach();
    await expect(guest.open().attach()).rejects.toMatchObject({ code: 'HV_START' });
  });

  it('belongs to one agent at a time', async () => {
    const source = await boot();
    await expect(guest.open().attach()).rejects.toMatchObject({ code: 'VM_BUSY' });
    await source.detach();
  });

  it.each([
    ['shutdown', 'console=ttyS0 quiet rdinit=/bin/poweroff -- -f'],
    ['panicked', 'console=ttyS0 quiet heartbeat.panic'],
  ])('that ends by itself is told apart from a killed QEMU: %s', async (state, append) => {
    await guest.dispose();
    guest = await makeQemuGuest({ append });
    const source = guest.open();
    const ended = new Promise((resolve) => source.onGuestEnd(resolve));
    await source.attach();
    expect(await ended).toBe(state);
    expect(await source.guestState()).toBe(state);
    await source.detach();
  });

  it('is refused when its memory is private to QEMU, with the arguments it needs', async () => {
    const foreign = await makeForeignGuest({ preload: true, share: false });
    try {
      await expect(foreign.open().attach()).rejects.toMatchObject({
        code: 'HV_NOT_SHARED',
        hint: expect.stringContaining('memory-backend-memfd,id=ram,size=134217728B,share=on'),
      });
    } finally {
      await foreign.dispose();
    }
  });

  it('that QEMU refuses to start is refused with what QEMU said', async () => {
    const broken = await makeQemuGuest({ extraArgs: ['-device', 'no-such-device'] });
    try {
      await expect(broken.open().attach()).rejects.toMatchObject({
        code: 'HV_START',
        message: expect.stringContaining('no-such-device'),
      });
    } finally {
      await broken.dispose();
    }
  });
});
