/** Finds the process behind a QMP socket of a QEMU that somebody else started. */

import { readdir, readFile, readlink } from 'node:fs/promises';
import { RomulusError } from '../../shared/errors.ts';

/** Pid of the process that listens on the unix socket. */
export async function socketOwner(socketPath: string): Promise<number> {
  const table = await readFile('/proc/net/unix', 'utf8');
  const inodes = new Set<string>();
  for (const line of table.split('\n')) {
    const [, , , , , , inode, ...path] = line.split(' ').filter(Boolean);
    if (inode !== undefined && path.join(' ') === socketPath) inodes.add(`socket:[${inode}]`);
  }
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const link = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
      if (inodes.has(link) && Number(pid) !== process.pid) return Number(pid);
    }
  }
  throw new RomulusError('HV_START', `no process of this host listens on ${socketPath}`, {
    hint: 'give attachQmp the path of a running QEMU started with -qmp unix:PATH,server=on,wait=off; run the agent as root',
  });
}

/** One variable of another process's environment, as it was started. */
export async function environmentOf(pid: number, name: string): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '');
  const entry = text.split('\0').find((each) => each.startsWith(`${name}=`));
  return entry?.slice(name.length + 1);
}
