/** Vitest reporter that ends a run with one plain line, `N passed, M failed`, for whoever reads only that. */

import { writeSync } from 'node:fs';
import type { Reporter, TestModule } from 'vitest/node';

export default class ClosingLine implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    let passed = 0;
    // An error outside any test, or a file that could not be loaded, is a failure like any other.
    let failed = unhandledErrors.length;
    for (const module of modules) {
      const states = [...module.children.allTests()].map((test) => test.result().state);
      passed += states.filter((state) => state === 'passed').length;
      // A test that was skipped proves nothing, so it does not count as passed.
      failed += states.filter((state) => state !== 'passed').length;
      if (module.state() === 'failed' && module.errors().length > 0) failed += 1;
    }
    const line = `\n${passed} passed, ${failed} failed\n`;
    // The default reporter prints its summary in the same turn; this comes after it.
    process.once('exit', () => writeSync(1, line));
  }
}
