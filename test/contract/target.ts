/** What every Target must hold to, whatever its hypervisor; run by each driver's own test file. */

import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { StandbyFiles, Target } from '../../backup/hypervisor/target.ts';
import type { Geometry, VmSpec } from '../../shared/vm.ts';

export interface TargetFixture {
  spec: VmSpec;
  geometry: Geometry;
  /** A Target not yet prepared; each call stands for a new agent. */
  open(): Target;
  /** A fresh directory with a standby image at a committed epoch, and the device state of that epoch. */
  checkpoint(): Promise<{ files: StandbyFiles; statePath: string }>;
  /** Resolves once the promoted guest has gone on from that epoch, and throws if its own check fails. */
  proveRunning(files: StandbyFiles): Promise<void>;
  dispose(): Promise<void>;
}

export function targetContract(name: string, make: () => Promise<TargetFixture>): void {
  describe(`Target contract: ${name}`, () => {
    let fixture: TargetFixture;
    let target: Target;
    let files: StandbyFiles;
    let statePath: string;

    beforeAll(async () => {
      fixture = await make();
    });
    beforeEach(async () => {
      ({ files, statePath } = await fixture.checkpoint());
      target = fixture.open();
    });
    afterEach(() => target.stop());
    afterAll(() => fixture?.dispose());

    const digest = () => createHash('sha1').update(readFileSync(files.imagePath)).digest('hex');

    it('accepts the guest it was made for', async () => {
      await target.check(fixture.spec, fixture.geometry);
    });

    it.each<[string, Partial<Geometry>]>([
      ['another architecture', { arch: 's390x' }],
      ['another hypervisor version', { hypervisor: 'qemu 6.1.0' }],
      ['another size of memory', { ramBytes: 4096 }],
    ])('refuses %s', async (_, difference) => {
      const geometry = { ...fixture.geometry, ...difference };
      await expect(target.check(fixture.spec, geometry)).rejects.toMatchObject({ code: 'HV_UNSUPPORTED' });
    });

    it('does not touch the image before it is started', async () => {
      const before = digest();
      await target.prepare(fixture.spec, files);
      expect(await target.alive()).toBe(true);
      expect(digest()).toBe(before);
    });

    it('goes on from the checkpoint once started', async () => {
      await target.prepare(fixture.spec, files);
      await target.start(statePath);
      await fixture.proveRunning(files);
    });

    it('takes up the standby of a predecessor, and starts it', async () => {
      await target.prepare(fixture.spec, files);
      await target.release?.();
      target = fixture.open();
      await target.prepare(fixture.spec, files);
      await target.start(statePath);
      await fixture.proveRunning(files);
    });

    it('finds nothing where nothing was left', async () => {
      expect(await target.takeUp(fixture.spec, files)).toBe('gone');
    });

    it('takes up a promoted guest without harm', async () => {
      await target.prepare(fixture.spec, files);
      await target.start(statePath);
      target = fixture.open();
      expect(await target.takeUp(fixture.spec, files)).toBe('running');
      expect(await target.alive()).toBe(true);
      await fixture.proveRunning(files);
    });

    it('says so when the device state is not one', async () => {
      const nonsense = join(files.runDir, 'nonsense');
      await target.prepare(fixture.spec, files);
      writeFileSync(nonsense, Buffer.alloc(1000, 7));
      await expect(target.start(nonsense)).rejects.toMatchObject({ code: 'HV_START' });
    });

    it('is dead after stop, prepared or not', async () => {
      await target.stop();
      await target.prepare(fixture.spec, files);
      await target.stop();
      expect(await target.alive()).toBe(false);
    });
  });
}
