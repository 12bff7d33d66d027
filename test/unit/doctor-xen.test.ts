/** What `romulus doctor` says of Xen hosts, from what `xl info` prints on them. */

import { describe, expect, it } from 'vitest';
import { checkXen, type XenFacts } from '../../cli/doctor/xen.ts';

const INFO = `host                   : a
release                : 6.1.0-42-amd64
virt_caps              : pv hvm hap shadow
free_memory            : 4096
xen_major              : 4
xen_minor              : 17
xen_extra              : .6-pre
`;
const good: XenFacts = {
  dom0: true,
  info: INFO,
  hasLibrary: (release) => release === '4.17',
  hasAddon: true,
  deviceModel: 'qemu 7.2.22/xen',
  hasNbd: true,
};
const verdicts = (facts: XenFacts) =>
  Object.fromEntries(checkXen(facts).map(({ id, verdict }) => [id, verdict]));

describe('doctor on a Xen host', () => {
  it('is content with a host that has all', () => {
    expect(verdicts(good)).toEqual({
      xen: 'ok',
      'xen-library': 'ok',
      'xen-addon': 'ok',
      'xen-hap': 'ok',
      'xen-model': 'ok',
      'xen-disk': 'ok',
      'xen-memory': 'ok',
    });
  });

  it.each([
    ['another release', { info: INFO.replace(': 17', ': 18') }, 'xen', 'missing', /xen-hypervisor-4.17/],
    ['no libraries of its release', { hasLibrary: () => false }, 'xen-library', 'missing', /libxen-dev/],
    ['no driver', { hasAddon: false }, 'xen-addon', 'missing', /build:xen/],
    ['no nested paging', { info: INFO.replace(' hap', '') }, 'xen-hap', 'absent', /firmware/],
    ['no device model', { deviceModel: undefined }, 'xen-model', 'absent', /qemu-system-xen/],
    ['no client for disks', { hasNbd: false }, 'xen-disk', 'absent', /modprobe nbd/],
    ['no memory left', { info: INFO.replace('4096', '64') }, 'xen-memory', 'missing', /mem-set/],
    ['no tools that answer', { info: undefined }, 'xen', 'missing', /xl info/],
  ])('names the command for a host with %s', (_, change, id, verdict, fix) => {
    const found = checkXen({ ...good, ...change }).find((each) => each.id === id);
    expect(found).toMatchObject({ verdict, fix: expect.stringMatching(fix) });
  });

  it('says in one line that any other machine is none', () => {
    expect(verdicts({ ...good, dom0: false })).toEqual({ xen: 'info' });
  });
});
