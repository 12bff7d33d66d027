/** What every output gate must hold to; run by each gate's own test file. */

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { engine } from '../../native/index.ts';
import type { OutputGate } from '../../primary/output/gate.ts';

export interface GateFixture {
  /** Attached. */
  gate: OutputGate;
  /** The guest sends; resolves when a seal() would count it. */
  send(text: string): Promise<void>;
  /** What has left, in order, once at least `count` packets have. */
  left(count: number): Promise<string[]>;
  dispose(): Promise<void>;
}

const PERMIT_MS = 60_000;

export function gateContract(name: string, make: () => Promise<GateFixture>): void {
  describe(`OutputGate contract: ${name}`, () => {
    let fixture: GateFixture;
    let gate: OutputGate;

    beforeEach(async () => {
      fixture = await make();
      gate = fixture.gate;
    });
    afterEach(() => fixture.dispose());

    const permit = () => engine().bootTimeMs() + PERMIT_MS;
    /** Everything that has left by now: a last packet is let out behind it, and waited for. */
    async function allThatLeft(expected: number): Promise<string[]> {
      gate.discard();
      gate.openUnprotected();
      await fixture.send('end');
      const left = await fixture.left(expected + 1);
      expect(left.at(-1)).toBe('end');
      return left.slice(0, -1);
    }

    it('is shut from the start', async () => {
      await fixture.send('early');
      gate.seal(1);
      expect(await allThatLeft(0)).toEqual([]);
    });

    it('lets an epoch out only after its release', async () => {
      await fixture.send('a');
      await fixture.send('b');
      gate.seal(1);
      expect(gate.held().packets).toBe(2);
      gate.release(1, permit());
      expect(await fixture.left(2)).toEqual(['a', 'b']);
    });

    it('holds what is sent after the seal when that epoch is released', async () => {
      await fixture.send('first');
      gate.seal(1);
      await fixture.send('second');
      gate.release(1, permit());
      expect(await fixture.left(1)).toEqual(['first']);
      gate.seal(2);
      gate.release(2, permit());
      expect(await fixture.left(2)).toEqual(['first', 'second']);
    });

    it('lets nothing out under a permit that has run out', async () => {
      await fixture.send('late');
      gate.seal(1);
      gate.release(1, engine().bootTimeMs() - 1);
      expect(await allThatLeft(0)).toEqual([]);
    });

    it('lets out under a new permit what an old one was too short for', async () => {
      await fixture.send('late');
      gate.seal(1);
      gate.release(1, engine().bootTimeMs() - 1);
      gate.release(1, permit());
      expect(await fixture.left(1)).toEqual(['late']);
    });

    it('lets nothing out for the release of an earlier epoch', async () => {
      gate.seal(4);
      gate.release(4, permit());
      await fixture.send('five');
      gate.seal(5);
      gate.release(4, permit());
      expect(await allThatLeft(0)).toEqual([]);
    });

    it('keeps what an epoch that was given up held, for the one captured in its place', async () => {
      await fixture.send('a');
      gate.seal(1);
      gate.seal(1);
      gate.release(1, permit());
      expect(await fixture.left(1)).toEqual(['a']);
    });

    it('lets nothing of a new lineage out under a permit of the old one', async () => {
      await fixture.send('old');
      gate.seal(7);
      gate.release(7, permit());
      expect(await fixture.left(1)).toEqual(['old']);
      await fixture.send('new');
      gate.seal(1);
      expect(gate.held().packets).toBe(1);
      gate.release(1, permit());
      expect(await fixture.left(2)).toEqual(['old', 'new']);
    });

    it('lets everything out while unprotected, until the next seal', async () => {
      await fixture.send('held');
      gate.openUnprotected();
      await fixture.send('passing');
      expect(await fixture.left(2)).toEqual(['held', 'passing']);
      gate.seal(1);
      await fixture.send('behind');
      expect(await allThatLeft(2)).toEqual(['held', 'passing']);
    });

    it('shuts again after it was open', async () => {
      gate.openUnprotected();
      gate.close();
      await fixture.send('silent');
      expect(await allThatLeft(0)).toEqual([]);
    });

    it('tells how much it holds, and nothing after a discard', async () => {
      await fixture.send('some');
      gate.seal(1);
      expect(gate.held().packets).toBe(1);
      expect(gate.held().bytes).toBeGreaterThanOrEqual(4);
      gate.discard();
      expect(gate.held()).toEqual({ packets: 0, bytes: 0, oldestMs: 0 });
    });
  });
}
