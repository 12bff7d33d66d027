/** What every Source must hold to, whatever its hypervisor; run by each driver's own test file. */

import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { engine } from '../../native/index.ts';
import type { Source } from '../../primary/hypervisor/source.ts';
import { MAX_STATE_BYTES } from '../../shared/limits.ts';
import { PAGE_BYTES } from '../../shared/vm.ts';

export interface SourceFixture {
  /** A Source for the one guest of this fixture, not yet attached; each call stands for a new agent. */
  open(): Source;
  /** Resolves once the guest has run on for a while, and written to its memory. */
  work(): Promise<void>;
  dispose(): Promise<void>;
}

const COMPARE_BYTES = 2 ** 20;

export function sourceContract(name: string, make: () => Promise<SourceFixture>): void {
  describe(`Source contract: ${name}`, () => {
    let fixture: SourceFixture;
    let source: Source;

    beforeAll(async () => {
      fixture = await make();
    });
    afterEach(() => source.detach());
    afterAll(() => fixture?.dispose());

    async function attach(): Promise<Source> {
      source = fixture.open();
      await source.attach();
      return source;
    }
    const newBitmap = () => engine().createBitmap(source.geometry.ramBytes / PAGE_BYTES);

    it('maps as much memory as its geometry says, in whole pages', async () => {
      await attach();
      expect(source.memory.sizeBytes).toBe(source.geometry.ramBytes);
      expect(source.geometry.ramBytes % PAGE_BYTES).toBe(0);
      expect(source.geometry.cpus).toBeGreaterThan(0);
      expect(source.geometry.hypervisor).toMatch(/^\w+ \S+$/);
    });

    it('yields every page first, after each attach', async () => {
      for (let agent = 0; agent < 2; agent++) {
        await attach();
        await source.pause();
        const dirty = newBitmap();
        expect(await source.takeDirty(dirty)).toBe(dirty.pages);
        expect(dirty.count()).toBe(dirty.pages);
        await source.resume();
        if (agent === 0) await source.detach();
      }
    });

    it('names every page that differs between two checkpoints', async () => {
      await attach();
      await source.pause();
      await source.takeDirty(newBitmap());
      const before = source.memory.read(0, source.memory.sizeBytes);
      await source.resume();
      await fixture.work();
      await source.pause();
      const dirty = newBitmap();
      await source.takeDirty(dirty);
      const changed = changedPages(before, source);
      expect(changed.length).toBeGreaterThan(0);
      expect(changed.filter((page) => !dirty.test(page))).toEqual([]);
      if (source.tracking !== 'full-compare') expect(dirty.count()).toBeLessThan(dirty.pages);
      await source.resume();
    });

    it('adds to the pages already in the bitmap', async () => {
      await attach();
      await source.pause();
      await source.takeDirty(newBitmap());
      const dirty = newBitmap();
      dirty.set(5, 3);
      const added = await source.takeDirty(dirty);
      for (const page of [5, 6, 7]) expect(dirty.test(page)).toBe(true);
      expect(dirty.count()).toBe(added + 3);
      await source.resume();
    });

    it('holds memory still and knows no new dirty page while the guest is paused', async () => {
      await attach();
      await source.pause();
      expect(await source.guestState()).toBe('paused');
      await source.deviceState();
      await source.takeDirty(newBitmap());
      const before = source.memory.read(0, source.memory.sizeBytes);
      await source.deviceState();
      expect(changedPages(before, source)).toEqual([]);
      if (source.tracking !== 'full-compare') expect(await source.takeDirty(newBitmap())).toBe(0);
      await source.resume();
      expect(await source.guestState()).toBe('running');
    });

    it('gives a device state within the limit', async () => {
      await attach();
      await source.pause();
      const state = await source.deviceState();
      expect(state.length).toBeGreaterThan(0);
      expect(state.length).toBeLessThanOrEqual(MAX_STATE_BYTES);
      await source.resume();
    });

    it('leaves a guest it had paused running when it lets go', async () => {
      await attach();
      await source.pause();
      await source.detach();
      await fixture.work();
      await attach();
      expect(await source.guestState()).toBe('running');
    });

    it('keeps a fenced guest paused through detach and the next agent', async () => {
      await attach();
      await source.fence();
      expect(await source.guestState()).toBe('paused');
      await source.detach();
      await attach();
      expect(await source.guestState()).toBe('paused');
      await expect(source.resume()).rejects.toMatchObject({ code: 'TERM_STALE' });
    });
  });
}

/** Pages whose bytes are not those of `before`. */
function changedPages(before: Buffer, source: Source): number[] {
  const changed: number[] = [];
  for (let offset = 0; offset < before.length; offset += COMPARE_BYTES) {
    const now = source.memory.read(offset, Math.min(COMPARE_BYTES, before.length - offset));
    if (now.equals(before.subarray(offset, offset + now.length))) continue;
    for (let at = 0; at < now.length; at += PAGE_BYTES) {
      const same = now
        .subarray(at, at + PAGE_BYTES)
        .equals(before.subarray(offset + at, offset + at + PAGE_BYTES));
      if (!same) changed.push((offset + at) / PAGE_BYTES);
    }
  }
  return changed;
}
