/** A guest's description as QEMU's arguments: one device model for the primary and its standby. */

import { join } from 'node:path';
import { RomulusError } from '../errors.ts';
import { MAX_RAM_BYTES } from '../limits.ts';
import { PAGE_BYTES, type VmSpec } from '../vm.ts';
import { kvmMissing } from './kvm.ts';

/** Id of the memory backend. The saved device state names it, so it is the same on both sides. */
export const RAM_ID = 'ram';
/** A unix socket's path ends here (sun_path, with its closing zero). */
const MAX_SOCKET_PATH_BYTES = 107;
/** Seconds for which requests to a disk whose agent is away wait: a week. */
const DISK_PATIENCE_S = 7 * 24 * 3600;
/** Guests whose kernel panicked stay visible instead of vanishing. */
const PANIC_ARGS = ['-device', 'pvpanic', '-action', 'panic=pause'];

/** Files of one QEMU, all in one directory that outlives the agent. */
export interface QemuFiles {
  dir: string;
  /** The agent's QMP socket, and the keeper's own (a monitor serves one client at a time). */
  qmp: string;
  keeperQmp: string;
  /** Socket on which the agent listens for the keeper. */
  keeper: string;
  /** What the preload library says of the dirty log. */
  dirtyLog: string;
  /** QEMU's stdout and stderr. */
  log: string;
  /** Record of the running process, for the next agent. */
  record: string;
  /** Device state of the checkpoint being taken. */
  state: string;
  /** Socket through which a standby receives its device state. */
  incoming: string;
  /** Exists once the guest was fenced. */
  fenced: string;
  serial: string;
}

export function qemuFiles(dir: string): QemuFiles {
  const file = (name: string) => join(dir, name);
  const files = {
    dir,
    qmp: file('qmp.sock'),
    keeperQmp: file('keeper-qmp.sock'),
    keeper: file('keeper.sock'),
    dirtyLog: file('dirtylog'),
    log: file('qemu.log'),
    record: file('qemu.json'),
    state: file('state'),
    incoming: file('incoming.sock'),
    fenced: file('fenced'),
    serial: file('serial.log'),
  };
  if (Buffer.byteLength(files.keeperQmp) > MAX_SOCKET_PATH_BYTES) {
    throw new RomulusError('HV_START', `${dir} is too long a path for unix sockets`, {
      hint: `choose a runDir of less than ${MAX_SOCKET_PATH_BYTES - 40} characters`,
    });
  }
  return files;
}

/** `ROMULUS_QEMU`, or the system emulator of this host's architecture. */
export function qemuBinary(): string {
  return process.env.ROMULUS_QEMU ?? `qemu-system-${hostArch()}`;
}

/** This host's architecture as QEMU names it. */
export function hostArch(): string {
  return process.arch === 'x64' ? 'x86_64' : process.arch === 'arm64' ? 'aarch64' : process.arch;
}

export interface QemuRole {
  files: QemuFiles;
  /** Standby image to run on, waiting for device state; without it the guest boots in fresh memory. */
  imagePath?: string;
}

/** Arguments after the binary's name. */
export function qemuArgs(spec: VmSpec, { files, imagePath }: QemuRole): string[] {
  if (!(spec.memoryBytes > 0 && spec.memoryBytes <= MAX_RAM_BYTES && spec.memoryBytes % PAGE_BYTES === 0)) {
    throw new RomulusError('CONFIG_INVALID', `${spec.name}: memory of ${spec.memoryBytes} bytes`, {
      hint: `give a multiple of ${PAGE_BYTES} up to ${MAX_RAM_BYTES}`,
    });
  }
  const ram =
    imagePath === undefined
      ? 'memory-backend-memfd'
      : `memory-backend-file,mem-path=${optionValue(imagePath)}`;
  return [
    ...['-name', optionValue(spec.name), '-nodefaults', '-no-user-config', '-display', 'none'],
    ...['-machine', `${spec.machine ?? defaultMachine()},memory-backend=${RAM_ID}`],
    ...(kvmMissing() === undefined ? ['-accel', 'kvm'] : []),
    ...['-accel', 'tcg'],
    ...['-m', `${spec.memoryBytes}B`, '-smp', `${spec.cpus}`],
    ...['-object', `${ram},id=${RAM_ID},size=${spec.memoryBytes}B,share=on`],
    ...['-global', 'migration.send-configuration=off'],
    ...['-qmp', `unix:${optionValue(files.qmp)},server=on,wait=off`],
    ...['-qmp', `unix:${optionValue(files.keeperQmp)},server=on,wait=off`],
    ...['-chardev', `file,id=serial0,path=${optionValue(spec.serialLog ?? files.serial)},append=on`],
    ...['-serial', 'chardev:serial0'],
    ...(hostArch() === 'x86_64' ? PANIC_ARGS : []),
    ...optional('-kernel', spec.kernel),
    ...optional('-initrd', spec.initrd),
    ...optional('-append', spec.append),
    ...(spec.disk === undefined ? [] : diskArgs(spec.name, files)),
    ...(spec.networks ?? []).flatMap(({ mac }, index) => networkArgs(mac, files, index)),
    ...(imagePath === undefined ? [] : ['-incoming', 'defer']),
    ...(spec.extraArgs ?? []),
  ];
}

/**
 * QEMU listens and the relay connects, so that the next agent can connect again. No option ROM: nothing boots from this
 * device, and both sides need the same file for it.
 */
function networkArgs(mac: string, files: QemuFiles, index: number): string[] {
  const path = optionValue(networkSocket(files, index));
  return [
    ...['-netdev', `stream,id=net${index},server=on,addr.type=unix,addr.path=${path}`],
    ...['-device', `virtio-net-pci,id=nic${index},netdev=net${index},mac=${mac},romfile=`],
  ];
}

/** The agent serves the disk; while it is away, the guest's requests wait for it rather than fail. */
function diskArgs(name: string, files: QemuFiles): string[] {
  const server = `server.type=unix,server.path=${optionValue(diskSocket(files.dir))},export=${optionValue(name)}`;
  return ['-drive', `driver=nbd,${server},reconnect-delay=${DISK_PATIENCE_S},if=virtio,discard=unmap`];
}

/** Socket on which the agent serves a guest's disk. Beside the guest's folder: that one is emptied when roles change. */
export function diskSocket(dir: string): string {
  return `${dir}.disk.sock`;
}

/** Socket on which QEMU hands out the frames of its network device `index`. */
export function networkSocket(files: QemuFiles, index: number): string {
  return join(files.dir, `net${index}.sock`);
}

/** Environment for the preload library. */
export function preloadEnv(preloadPath: string, { files, imagePath }: QemuRole): Record<string, string> {
  return {
    LD_PRELOAD: preloadPath,
    ROMULUS_DIRTYLOG_STATUS: files.dirtyLog,
    ROMULUS_KEEPER: files.keeper,
    ROMULUS_KEEPER_QMP: files.keeperQmp,
    ...(imagePath === undefined ? {} : { ROMULUS_RAM: imagePath }),
  };
}

/** The arguments a QEMU that somebody else starts needs, for hints. */
export function sharedMemoryArguments(memoryBytes: number): string {
  const size = `${memoryBytes}B`;
  return `-object memory-backend-memfd,id=${RAM_ID},size=${size},share=on -machine ${defaultMachine()},memory-backend=${RAM_ID}`;
}

function defaultMachine(): string {
  return hostArch() === 'x86_64' ? 'q35' : 'virt';
}

/** QEMU's option syntax takes a doubled comma for a comma. */
function optionValue(value: string): string {
  return value.replaceAll(',', ',,');
}

function optional(flag: string, value: string | undefined): string[] {
  return value === undefined ? [] : [flag, value];
}
