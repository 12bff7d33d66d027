/** A tick for machines that judge a peer's silence: it comes when the sockets have been read, however busy the event loop was. */

/** A loop that is busy without end gets its ticks all the same, after so many rounds. */
const MAX_ROUNDS = 5;

/**
 * Calls back every `everyMs`, but never out of a turn of the event loop that stood still: what the peer said meanwhile
 * still waits in the sockets then, and would be taken for silence. Returns what ends it.
 */
export function fairTick(everyMs: number, tick: () => void): () => void {
  let ended = false;
  const afterReading = (sinceMs: number, rounds: number) =>
    setImmediate(() => {
      if (ended) return;
      const nowMs = performance.now();
      // Immediates come after sockets are read: a quick turn between the timer and here has read them all.
      if (nowMs - sinceMs > everyMs && rounds < MAX_ROUNDS) afterReading(nowMs, rounds + 1);
      else tick();
    });
  const timer = setInterval(() => afterReading(performance.now(), 0), everyMs);
  return () => {
    ended = true;
    clearInterval(timer);
  };
}
