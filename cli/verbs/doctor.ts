/** `romulus doctor`: every prerequisite, with the exact command that mends it; exit 1 when one is missing. */

import { ExitCode } from '../../shared/errors.ts';
import type { Verb } from '../context.ts';
import { examine } from '../doctor/checks.ts';
import type { Finding, Verdict } from '../doctor/finding.ts';
import { type Colour, type Output, table } from '../output.ts';

const colours: Record<Verdict, Colour> = { ok: 'green', missing: 'red', absent: 'yellow', info: 'dim' };

export const doctor: Verb = (program, context) => {
  program
    .command('doctor')
    .description('check every prerequisite; exit 1 when one that an agent needs is missing')
    .action(async () => {
      const checks = await examine(context().configFlag, context().apiFlag);
      const ok = checks.every((check) => check.verdict !== 'missing');
      context().out.result({ ok, checks }, () => doctorText(checks, context().out));
      context().exitWith(ok ? ExitCode.ok : ExitCode.failed);
    });
};

function doctorText(checks: Finding[], out: Output): string {
  const rows = checks.map((check) => [
    out.paint(colours[check.verdict], check.verdict),
    check.what,
    check.found,
    out.paint('dim', check.verdict === 'ok' ? '' : check.needed),
  ]);
  const fixes = checks.flatMap((check) => (check.fix === undefined ? [] : [`  ${check.what}: ${check.fix}`]));
  return [table(rows), ...(fixes.length === 0 ? [] : ['', 'To mend:', ...fixes])].join('\n');
}
