/** When a host is left to its watchdog, and when its peer may count on that. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Watchdog, watchdogTimes } from '../../primary/watchdog.ts';
import { defaultPolicy } from '../../shared/control/policy.ts';
import { type PrimaryPhase, startPrimary } from '../../shared/control/primary-state.ts';
import { mayLive, resetByMs } from '../../shared/control/watchdog.ts';

const PARTY = { vm: 'vm', self: 'alpha', peer: 'beta' };

function primaryIn(phase: PrimaryPhase, heardMs: number) {
  const start = { term: 1, nowMs: 0, paused: false, serving: true };
  return { ...startPrimary(PARTY, defaultPolicy, start), phase, heardMs };
}

describe('a host', () => {
  it('lives while the register says that the VM is its own, however long the peer is silent', () => {
    expect(mayLive(primaryIn('SOLO', 0), 1e9)).toBe(true);
    expect(mayLive(primaryIn('ENDED', 0), 1e9)).toBe(true);
  });

  it.each(['PROTECTED', 'JOINING', 'LEAVING', 'HANDING'] as const)(
    'in %s lives no longer than its guest would run alone',
    (phase) => {
      const { isolateAfterMs } = defaultPolicy;
      expect(mayLive(primaryIn(phase, 1000), 1000 + isolateAfterMs - 1)).toBe(true);
      expect(mayLive(primaryIn(phase, 1000), 1000 + isolateAfterMs)).toBe(false);
    },
  );

  it('does not live on a new agent that has not yet asked whose the VM is', () => {
    expect(mayLive(primaryIn('STARTING', 1000), 1001)).toBe(false);
  });

  it('has been reset when its peer takes it for reset, however their clocks drift within the bound', () => {
    const times = fc.record({
      heardMs: fc.nat(1e9),
      watchdogMs: fc.integer({ min: 1000, max: 3_600_000 }),
      drift: fc.double({ min: -1, max: 1, noNaN: true }),
    });
    fc.assert(
      fc.property(times, ({ heardMs, watchdogMs, drift }) => {
        const { isolateAfterMs, driftRatio } = defaultPolicy;
        // The primary's clock runs slower or faster than the backup's; the device is fed for the last time just in time.
        const resetMs = heardMs + (isolateAfterMs + watchdogMs) * (1 + drift * driftRatio);
        return resetMs <= resetByMs(defaultPolicy, heardMs, watchdogMs);
      }),
    );
  });
});

describe('the device', () => {
  it('is not touched before it is first fed, and is let go of with the letter that ends the countdown', () => {
    const dir = mkdtempSync(join(tmpdir(), 'romulus-watchdog-'));
    const path = join(dir, 'watchdog');
    writeFileSync(path, '');
    const device = new Watchdog(path);
    device.disarm();
    expect(readFileSync(path, 'utf8')).toBe('');
    device.feed();
    device.feed();
    expect(device.armed).toBe(true);
    device.disarm();
    expect(readFileSync(path, 'utf8')).toBe('11V');
    rmSync(dir, { recursive: true });
  });

  it('that is not there is said to be missing, with the command that brings one', () => {
    expect(() => watchdogTimes({ device: '/dev/watchdog99' })).toThrow(
      expect.objectContaining({ code: 'PREREQUISITE', hint: expect.stringContaining('modprobe softdog') }),
    );
  });
});
