/** Simulated time: what is due next, in a fixed order even at the same instant (a binary heap). */

interface Due {
  atMs: number;
  order: number;
  run: () => void;
}

export class Timeline {
  nowMs = 0;
  private heap: Due[] = [];
  private order = 0;

  after(delayMs: number, run: () => void): void {
    this.order += 1;
    const due = { atMs: this.nowMs + delayMs, order: this.order, run };
    const { heap } = this;
    let at = heap.push(due) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Due;
      if (!before(due, above)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = due;
  }

  /** Runs the next thing due at or before `untilMs`; false if there is none. */
  step(untilMs: number): boolean {
    const { heap } = this;
    const first = heap[0];
    if (first === undefined || first.atMs > untilMs) {
      this.nowMs = untilMs;
      return false;
    }
    const last = heap.pop() as Due;
    if (heap.length > 0) this.sink(last);
    this.nowMs = first.atMs;
    first.run();
    return true;
  }

  private sink(due: Due): void {
    const { heap } = this;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Due, heap[child] as Due)) child += 1;
      const below = heap[child] as Due;
      if (!before(below, due)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = due;
  }
}

function before(a: Due, b: Due): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}
