/** docs/failures.md as the run of the scenarios writes it. */

export interface FailureRow {
  name: string;
  how: string;
  expected: string;
  observed: string;
  /** Samples in which both hosts served, of all. */
  twoActive: number;
  samples: number;
  /** From the end of the fault until PROTECTED again, in seconds. */
  recoveredS: number;
}

export function failuresText(rows: readonly FailureRow[], silenceMs: number): string {
  const lines = rows.map(
    ({ name, how, expected, observed, twoActive, samples, recoveredS }) =>
      `| ${name} | ${how} | ${expected} | ${observed} | ${twoActive} of ${samples} | ${recoveredS.toFixed(1)} s |`,
  );
  return `# What becomes of failures

Written by the run of the scenarios itself: \`npm run docs:failures\` (takes root, Redis and QEMU). Two agents, a witness and a
demo guest, each host in a network namespace of its own; a silence of ${silenceMs} ms counts as loss. After each failure everything is
mended, and the VM must become PROTECTED again by itself; the guest checks all of its memory all the while.

*stays*: the guest goes on where it was. *moves*: it goes on on the other host. *waits*: nobody serves until an operator says
what was lost. *Two active* counts the samples, one about every 20 ms, in which both sides' output could leave.

| failure | staged by | expected | observed | two active | PROTECTED again after |
|---|---|---|---|---|---|
${lines.join('\n')}
`;
}
