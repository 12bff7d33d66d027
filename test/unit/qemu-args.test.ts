/** QEMU's command line: what must be alike on both sides, and what must never reach QEMU. */

import { describe, expect, it } from 'vitest';
import { qemuArgs, qemuFiles } from '../../shared/hypervisor/qemu-args.ts';
import { sameSeries } from '../../shared/hypervisor/qemu-version.ts';
import type { VmSpec } from '../../shared/vm.ts';

const spec: VmSpec = {
  name: 'a',
  hypervisor: 'qemu',
  memoryBytes: 2 ** 28,
  cpus: 2,
  kernel: '/k',
  append: 'quiet',
};
const primary = { files: qemuFiles('/run/a') };
const standby = { files: qemuFiles('/run/b'), imagePath: '/dev/shm/image' };

describe('QEMU arguments', () => {
  it('give the standby the same machine and devices as the primary', () => {
    const model = (args: string[]) =>
      args.filter((arg) => !/\/run\/|memory-backend-|^-incoming$|^defer$/.test(arg));
    expect(model(qemuArgs(spec, standby))).toEqual(model(qemuArgs(spec, primary)));
  });

  it('share guest memory on both sides', () => {
    expect(qemuArgs(spec, primary)).toContain('memory-backend-memfd,id=ram,size=268435456B,share=on');
    expect(qemuArgs(spec, standby)).toContain(
      'memory-backend-file,mem-path=/dev/shm/image,id=ram,size=268435456B,share=on',
    );
  });

  it('double a comma in a path, so that it cannot become an option', () => {
    const args = qemuArgs({ ...spec, serialLog: '/tmp/a,append=off' }, primary);
    expect(args).toContain('file,id=serial0,path=/tmp/a,,append=off,append=on');
  });

  it.each([0, 4095, 2 ** 44, Number.NaN])('refuse a memory of %d bytes', (memoryBytes) => {
    expect(() => qemuArgs({ ...spec, memoryBytes }, primary)).toThrow(/memory of/);
  });

  it('refuse a directory whose sockets would not fit a unix address', () => {
    expect(() => qemuFiles(`/${'x'.repeat(100)}`)).toThrow(/too long/);
  });
});

describe('QEMU versions', () => {
  it('go together within a series, whatever the patch level', () => {
    expect(sameSeries('qemu 7.2.22/kvm', 'qemu 7.2.1/kvm')).toBe(true);
    expect(sameSeries('qemu 7.2.22/kvm', 'qemu 8.2.1/kvm')).toBe(false);
    expect(sameSeries('qemu 7.2.22/kvm', 'qemu 7.2.22/tcg')).toBe(false);
    expect(sameSeries('qemu unknown/kvm', 'qemu unknown/kvm')).toBe(false);
  });
});
