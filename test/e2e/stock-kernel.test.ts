/** What needs a stock distribution kernel, run on one: the `plug` queue, the NBD client and the watchdog, which the kernel here may lack. */

import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { runOnStockKernel } from '../kernel/boot.ts';

const checkout = fileURLToPath(new URL('../..', import.meta.url));
/** A kernel boots and tests run on it, all of it emulated. */
const TIMEOUT_MS = 600_000;

describe('on the kernel Debian ships', { timeout: TIMEOUT_MS }, () => {
  it('gate and disk hold', async () => {
    const vitest = 'ROMULUS_ON_STOCK_KERNEL=1 node node_modules/vitest/vitest.mjs run --reporter=verbose';
    const { exit, output } = await runOnStockKernel(vitest, checkout);
    expect(exit, output).toBe(0);
    expect(output).toMatch(/Tests +\d+ passed/);
  });

  it('a host whose agent no longer feeds its watchdog is reset, and none that is fed', async () => {
    const { exit, output } = await runOnStockKernel(
      'node --import tsx test/kernel/starve-watchdog.ts',
      checkout,
    );
    expect(output).toContain('fed for three times 3000 ms');
    expect(output).not.toContain('not reset');
    expect(exit).toBeUndefined();
  });
});
