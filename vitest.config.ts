import { configDefaults, defineConfig } from 'vitest/config';

/** Run inside an emulated Debian by test/e2e/stock-kernel.test.ts. */
const onStockKernel = process.env.ROMULUS_ON_STOCK_KERNEL !== undefined;
const stockKernel = onStockKernel ? [] : ['test/kernel/*.test.ts'];

// Real processes, guests and mappings are involved: files run one after the other so that two cores suffice.
export default defineConfig({
  test: {
    include: onStockKernel ? ['test/kernel/*.test.ts'] : ['test/**/*.test.ts'],
    exclude: [...configDefaults.exclude, ...stockKernel],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
