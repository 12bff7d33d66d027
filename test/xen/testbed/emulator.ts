/** The machine a test host is: QEMU's arguments, the same for booting one as for going on from what was booted. */

import { join } from 'node:path';

/** Of dom0, of guests unless asked otherwise, and of Xen itself. */
const DOM0_MIB = 1024;
const GUESTS_MIB = 1024;
const XEN_MIB = 256;

export interface Machine {
  /** Holds xen, vmlinuz and dom0.initrd. */
  cache: string;
  /** Raw image of dom0's root. What is written is dropped unless `keepsWrites`. */
  disk: string;
  keepsWrites: boolean;
  /** File of the machine's memory: `shared`, what is written is in the file; else in this process only. */
  memory?: { file: string; shared: boolean };
  guestsMiB?: number;
  /** Directories that dom0 mounts as /run/host and /mnt/host; sockets and console.log are in the first. */
  runDir: string;
  sharedDir: string;
  /** Sockets of the two ends of a wire to another host: ours, the peer's. */
  wire?: readonly [ours: string, peers: string];
  /** Waits for a saved state instead of booting. */
  goesOn: boolean;
}

/** QEMU's monitor and the port that dom0 announces itself on, both unix sockets. */
export const monitorOf = (runDir: string): string => join(runDir, 'monitor');
export const portOf = (runDir: string): string => join(runDir, 'port');

export function emulatorArguments(machine: Machine): string[] {
  const { cache, runDir, memory, guestsMiB = GUESTS_MIB } = machine;
  const memoryMiB = DOM0_MIB + guestsMiB + XEN_MIB;
  // One processor: with two, an emulator that gets little time spends all of it on the timers of both.
  const args = ['-machine', memory === undefined ? 'q35' : 'q35,memory-backend=ram', '-m', String(memoryMiB)];
  args.push('-accel', 'tcg', '-smp', '1', '-nodefaults', '-no-reboot', '-display', 'none');
  if (memory !== undefined) {
    const share = memory.shared ? 'on' : 'off';
    const backend = `memory-backend-file,id=ram,size=${memoryMiB}M,mem-path=${memory.file},share=${share}`;
    args.push('-object', backend);
  }
  // Under TCG a PV dom0 does not survive SMAP and SMEP, and Xen's TSC intercepts do not work with RDTSCP.
  args.push('-cpu', 'max,-smap,-smep,-rdtscp');
  args.push('-serial', `file:${join(runDir, 'console.log')}`);
  args.push('-qmp', `unix:${monitorOf(runDir)},server=on,wait=off`);
  // Lazy FPU switching, Xen's default on AMD, mixes up the vector registers of dom0 and the guests under TCG.
  const xen = `console=com1 com1=115200,8n1 dom0_mem=${DOM0_MIB}M,max:${DOM0_MIB}M spec-ctrl=eager-fpu bootscrub=0`;
  args.push('-kernel', join(cache, 'xen'), '-append', `${xen} loglvl=warning guest_loglvl=warning`);
  const dom0 = 'root=/dev/vda rw init=/sbin/testbed-init console=hvc0 net.ifnames=0 quiet';
  args.push('-initrd', `${join(cache, 'vmlinuz')} ${dom0},${join(cache, 'dom0.initrd')}`);
  const dropped = machine.keepsWrites ? '' : ',snapshot=on';
  args.push('-drive', `file=${machine.disk},format=raw,if=virtio${dropped}`);
  for (const [tag, path] of [
    ['host', machine.sharedDir],
    ['run', runDir],
  ])
    args.push('-virtfs', `local,path=${path},mount_tag=${tag},security_model=none,multidevs=remap`);
  args.push('-device', 'virtio-serial-pci', '-device', 'virtserialport,chardev=port');
  args.push('-chardev', `socket,id=port,path=${portOf(runDir)},server=on,wait=off`);
  // A wire that leads nowhere for a host alone: other kinds of link have state of their own to save.
  const [ours, peers] = machine.wire ?? [join(runDir, 'wire'), join(runDir, 'nowhere')];
  const netdev = `dgram,id=wire,local.type=unix,local.path=${ours},remote.type=unix,remote.path=${peers}`;
  args.push('-netdev', netdev, '-device', 'virtio-net-pci,netdev=wire,romfile=');
  if (machine.goesOn) args.push('-incoming', 'defer');
  return args;
}
