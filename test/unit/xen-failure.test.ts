/** How a Xen guest's end, and the addon's errors, reach the epoch loop and the operator. */

import { describe, expect, it } from 'vitest';
import { guestStateOf, xenFailure } from '../../primary/hypervisor/xen-failure.ts';
import { RomulusError } from '../../shared/errors.ts';

const info = (shutdown: number | null, paused = false) => ({ shutdown, paused, memoryBytes: 0 });

describe("a domain's shutdown reason", () => {
  it.each([
    ['none, while it runs', info(null), 'running'],
    ['none, while the toolstack pauses it', info(null, true), 'paused'],
    ['suspend, in the middle of our own checkpoint', info(2), 'paused'],
    ['power-off', info(0), 'shutdown'],
    ['reboot, which is also a triple fault', info(1), 'shutdown'],
    ['crash', info(3), 'panicked'],
    ['watchdog', info(4), 'panicked'],
    ['a domain that Xen does not know', undefined, 'gone'],
  ] as const)('%s', (_, domain, state) => {
    expect(guestStateOf(domain)).toBe(state);
  });
});

describe("the addon's errors", () => {
  it.each([
    ['ESHUTDOWN', 'HV_GUEST_GONE'],
    ['ENOENT', 'HV_GUEST_GONE'],
    ['ENOTSUP', 'HV_UNSUPPORTED'],
    ['EPERM', 'PREREQUISITE'],
    ['ETIMEDOUT', 'HV_PROTOCOL'],
    ['EAGAIN', 'HV_PROTOCOL'],
    ['ESTALE', 'HV_PROTOCOL'],
    ['EINVAL', 'HV_PROTOCOL'],
  ])('%s becomes %s and names the next command', (code, expected) => {
    const thrown = capture(() => xenFailure('guest')(Object.assign(new Error('said'), { code })));
    expect(thrown).toMatchObject({ code: expected, message: 'guest: said' });
    expect((thrown as RomulusError).hint).toBeTruthy();
  });

  it('an error of ours passes unchanged', () => {
    const ours = new RomulusError('VM_UNKNOWN', 'no such guest');
    expect(capture(() => xenFailure('guest')(ours))).toBe(ours);
  });
});

function capture(run: () => unknown): unknown {
  try {
    return run();
  } catch (thrown) {
    return thrown;
  }
}
