/** Who listens on a unix socket: the process of a QEMU that somebody else started, or another agent. */

import { readdir, readFile, readlink } from 'node:fs/promises';
import { RomulusError } from '../../shared/errors.ts';

/** `__SO_ACCEPTCON` in the flags column of /proc/net/unix. */
const LISTENING = 0x10000;

/** Inodes of the sockets that listen on a path, without a connection that would disturb them; a stale socket file has none. */
export async function listeningInodes(path: string): Promise<string[]> {
  const inodes: string[] = [];
  for (const line of (await readFile('/proc/net/unix', 'utf8')).split('\n')) {
    const [, , , flags = '', , , inode = '', ...name] = line.split(' ').filter(Boolean);
    if (name.join(' ') === path && Number.parseInt(flags, 16) & LISTENING) inodes.push(inode);
  }
  return inodes;
}

/** Pid of the process that listens on the unix socket. */
export async function socketOwner(socketPath: string): Promise<number> {
  const links = (await listeningInodes(socketPath)).map((inode) => `socket:[${inode}]`);
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    for (const fd of await readdir(`/proc/${pid}/fd`).catch(() => [])) {
      const link = await readlink(`/proc/${pid}/fd/${fd}`).catch(() => '');
      if (links.includes(link) && Number(pid) !== process.pid) return Number(pid);
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
