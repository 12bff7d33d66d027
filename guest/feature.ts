/** What a demo guest can have besides its heartbeat: a few files each, found by guest/init. */

export interface GuestFeature {
  /** Files of guest/ it is built from; a change in one makes a new guest. */
  sources: string[];
  /** Kernel modules, in the order in which they load. */
  modules: string[];
  /** Lays its files out in the initramfs at `root`. */
  add(root: string, sourceDir: string): Promise<void>;
}
