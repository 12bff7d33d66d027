/** Status for people: a table, the state coloured, progress, reason and hint beneath. */

import { formatBytes, formatMs } from '../shared/config.ts';
import type { CertificateStatus, VmStatus } from '../shared/status.ts';
import type { ProtectionState } from '../shared/vm.ts';
import { type Colour, type Output, table } from './output.ts';

const colours: Record<ProtectionState, Colour> = {
  STARTING: 'yellow',
  SYNCING: 'yellow',
  PROTECTED: 'green',
  DEGRADED: 'red',
  STANDBY: 'green',
  PROMOTING: 'yellow',
  ACTIVE: 'green',
  SWITCHING: 'yellow',
  FENCED: 'red',
  ENDED: 'dim',
};

/** A state a newer agent invents is shown, uncoloured. */
export function stateColour(state: ProtectionState): Colour {
  return colours[state] ?? 'bold';
}

const head = [
  'VM',
  'ROLE',
  'STATE',
  'PEER',
  'EPOCH',
  'LENGTH',
  'PAUSE p50/p99',
  'DIRTY',
  'SENT/RAW',
  'LAST ACK',
];

export function statusText(vms: VmStatus[], out: Output): string {
  if (vms.length === 0) return 'no VMs; start one with: romulus protect VM --to HOST';
  const rows = vms.map((vm) => row(vm, out));
  const notes = vms.flatMap((vm) => notesOf(vm, out));
  return [table([head.map((title) => out.paint('dim', title)), ...rows]), ...notes].join('\n');
}

/** A line for each certificate that ends soon, with the command that renews it; '' when none does. */
export function certificateText(certificates: CertificateStatus[], node: string, out: Output): string {
  return certificates
    .filter((certificate) => certificate.renew)
    .map(({ path, expiresDays }) => {
      const when = expiresDays < 0 ? 'has expired' : `ends in ${expiresDays} days`;
      const said = out.paint(expiresDays < 0 ? 'red' : 'yellow', `${path} ${when}`);
      return `\n${said}\ntry: romulus certs DIR --node ${node} (no restart is needed)`;
    })
    .join('');
}

function row(vm: VmStatus, out: Output): string[] {
  return [
    out.paint('bold', vm.vm),
    vm.role,
    out.paint(stateColour(vm.state), vm.state),
    vm.peer,
    String(vm.role === 'primary' ? vm.ackedEpoch : vm.epoch),
    formatMs(vm.epochMs),
    vm.pauseMs ? `${formatMs(vm.pauseMs.p50)} / ${formatMs(vm.pauseMs.p99)}` : '-',
    vm.dirtyPages ? `${vm.dirtyPages.last} pages` : '-',
    sentShare(vm),
    vm.lastAckAgeMs === undefined ? '-' : `${formatMs(vm.lastAckAgeMs)} ago`,
  ];
}

function sentShare(vm: VmStatus): string {
  if (vm.rawBytes === 0) return '-';
  const percent = ((100 * vm.wireBytes) / vm.rawBytes).toFixed(1);
  return `${formatBytes(vm.wireBytes)} / ${formatBytes(vm.rawBytes)} (${percent}%)`;
}

function notesOf(vm: VmStatus, out: Output): string[] {
  const notes: string[] = [];
  if (vm.sync) notes.push(progressLine(vm));
  if (vm.reason !== undefined) notes.push(`${vm.vm}: ${out.paint(stateColour(vm.state), vm.reason)}`);
  if (vm.tracking === 'full-compare') {
    notes.push(
      `${vm.vm}: this kernel cannot track dirty pages, so every page is compared each epoch (romulus doctor)`,
    );
  }
  if (vm.hint !== undefined) notes.push(`try: ${vm.hint}`);
  return notes;
}

const BAR_CELLS = 24;

/** "web: first copy [#####     ] 42%, round 2, 108MiB sent" */
export function progressLine(vm: VmStatus): string {
  if (!vm.sync) return `${vm.vm}: ${vm.state}`;
  const percent = Math.max(0, Math.min(100, vm.sync.percent));
  const filled = Math.round((percent / 100) * BAR_CELLS);
  const bar = '#'.repeat(filled).padEnd(BAR_CELLS);
  return `${vm.vm}: first copy [${bar}] ${Math.floor(percent)}%, round ${vm.sync.round}, ${formatBytes(vm.sync.sentBytes)} sent`;
}
