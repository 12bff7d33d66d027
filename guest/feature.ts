/** What a demo guest can have besides its heartbeat: a few files each, found by guest/init. */

/** Runs a program and returns its stdout; fails with a hint at the package that lacks. */
export type Command = (file: string, args: string[], cwd: string) => Promise<string>;

export interface GuestFeature {
  /** Files of guest/ it is built from; a change in one makes a new guest. */
  sources: string[];
  /** Kernel modules, in the order in which they load. */
  modules: string[];
  /** Lays its files out in the initramfs at `root`. */
  add(root: string, sourceDir: string, command: Command): Promise<void>;
}
