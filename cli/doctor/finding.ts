/** One line of `romulus doctor`. */

/**
 * 'missing' makes doctor exit 1; 'absent' is something that is not needed for everything, and 'info' is a fact.
 */
export type Verdict = 'ok' | 'missing' | 'absent' | 'info';

export interface Finding {
  /** Stable name for scripts. */
  id: string;
  what: string;
  verdict: Verdict;
  found: string;
  needed: string;
  /** The exact command that mends it; there unless the verdict is ok or info. */
  fix?: string;
}

/** `fix` is dropped where there is nothing to mend. */
export function finding(
  id: string,
  what: string,
  verdict: Verdict,
  texts: { found: string; needed: string; fix: string },
): Finding {
  const { found, needed, fix } = texts;
  return { id, what, verdict, found, needed, ...(verdict === 'ok' || verdict === 'info' ? {} : { fix }) };
}
