/** The model of the rules, in its small size: it holds, and rules are needed. All of them: test/model/run.sh full */

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const script = fileURLToPath(new URL('./run.sh', import.meta.url));

function check(...rules: string[]): string {
  const { status, signal, error, stdout, stderr } = spawnSync(script, ['small', ...rules], {
    encoding: 'utf8',
  });
  const how = `${stdout}${stderr}\nended by ${signal ?? 'itself'} ${error?.message ?? ''}`;
  expect(status, `${how}\nneeds spin and a C compiler: apt-get install -y spin gcc`).toBe(0);
  return stdout;
}

describe('the model', () => {
  it('holds with all rules on', { timeout: 600_000 }, () => {
    expect(check('all')).toMatch(/^all +states=\d+ +errors=0/);
  });

  it.each([
    ['NO_GATE', 5],
    ['NO_ATOMIC', 6],
    ['NO_BARRIER', 7],
    ['NO_CAS_SOLO', 10],
    ['NO_CAS_PROMOTE', 11],
    ['NO_DOUBT', 12],
    ['BOOT_UNASKED', 17],
    ['NO_HANDOVER_CLOSE', 18],
  ])('breaks with %s, so rule %i is needed', { timeout: 600_000 }, (rule) => {
    expect(check(rule)).toMatch(/errors=1 in \d+ steps/);
  });
});
