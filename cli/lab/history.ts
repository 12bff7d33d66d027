/** Judges what an observer heard of a counter: one guest, whose time only goes on, or something that must never be. */

/** One answer to one request. Times in ms of the observer's clock; `sentMs` is read before the request was sent. */
export interface Saying {
  request: number;
  sentMs: number;
  atMs: number;
  count: number;
}

/**
 * What is wrong with a history, in words; empty when nothing is.
 *
 * Two copies: a request answered twice, or a number told for two requests. Something seen was lost: a request sent after a
 * number was heard is answered with that number or a lower one.
 */
export function judgeHistory(sayings: readonly Saying[]): string[] {
  const wrong: string[] = [];
  const requests = new Map<number, Saying>();
  const counts = new Map<number, Saying>();
  for (const saying of sayings) {
    const twice = requests.get(saying.request);
    if (twice)
      wrong.push(`request ${saying.request} was answered with ${twice.count} and with ${saying.count}`);
    requests.set(saying.request, saying);
    const same = counts.get(saying.count);
    if (same) wrong.push(`${saying.count} was told for request ${same.request} and for ${saying.request}`);
    counts.set(saying.count, saying);
  }
  const byArrival = [...sayings].sort((a, b) => a.atMs - b.atMs);
  const bySending = [...sayings].sort((a, b) => a.sentMs - b.sentMs);
  let highest: Saying | undefined;
  let heard = 0;
  for (const saying of bySending) {
    for (let next = byArrival[heard]; next && next.atMs < saying.sentMs; next = byArrival[heard]) {
      if (highest === undefined || next.count > highest.count) highest = next;
      heard += 1;
    }
    if (highest && saying.count <= highest.count) {
      wrong.push(
        `${highest.count} had been heard when request ${saying.request} was sent, which was told ${saying.count}`,
      );
    }
  }
  return wrong;
}
