import { configDefaults, defineConfig } from 'vitest/config';

/** Plays for ten minutes, and not all of its scenarios have passed yet: `npm run docs:failures` runs it, the suite does not. */
const failureList = process.env.ROMULUS_FAILURES_TO === undefined ? ['test/fault/failures.test.ts'] : [];

// Real processes, guests and mappings are involved: files run one after the other so that two cores suffice.
export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: [...configDefaults.exclude, ...failureList],
    pool: 'forks',
    fileParallelism: false,
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
