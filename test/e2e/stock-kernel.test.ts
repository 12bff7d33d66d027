/** What needs a stock distribution kernel, run on one: the `plug` queue and the NBD client, which the kernel here may lack. */

import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { runOnStockKernel } from '../kernel/boot.ts';

const checkout = fileURLToPath(new URL('../..', import.meta.url));
/** A kernel boots and tests run on it, all of it emulated. */
const TIMEOUT_MS = 600_000;

it('gate and disk hold on the kernel Debian ships', { timeout: TIMEOUT_MS }, async () => {
  const vitest = 'ROMULUS_ON_STOCK_KERNEL=1 node node_modules/vitest/vitest.mjs run --reporter=verbose';
  const { exit, output } = await runOnStockKernel(vitest, checkout);
  expect(exit, output).toBe(0);
  expect(output).toMatch(/Tests +\d+ passed/);
});
