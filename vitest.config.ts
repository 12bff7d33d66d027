import { defineConfig } from 'vitest/config';

// Real processes, guests and mappings are involved: files run one after the other so that two cores suffice.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
