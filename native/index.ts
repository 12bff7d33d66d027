/** Typed facade of the C++ engine: the only file that loads the addon. No guest page passes through JavaScript one by one. */

import { createRequire } from 'node:module';

/** Bytes free before each chunk's payload, so that a frame prefix and head can be written without moving the payload. */
export const CHUNK_HEADROOM_BYTES = 256;

/** A mapped range of memory: guest RAM, shadow copy, standby image, or device state. */
export interface Memory {
  readonly sizeBytes: number;
  /** Copies out (tests, device state); RangeError beyond the end. */
  read(offset: number, length: number): Buffer;
  /** Copies in; RangeError beyond the end. */
  write(offset: number, data: Uint8Array): void;
  /** Flushes a file mapping to its file (msync). */
  sync(): Promise<void>;
  /** Unmaps; every later use throws. */
  close(): void;
}

/** One bit per 4 KiB page. */
export interface DirtyBitmap {
  readonly pages: number;
  set(page: number, count?: number): void;
  setAll(): void;
  clear(): void;
  count(): number;
  /** Set union, for merging an aborted epoch back. */
  or(other: DirtyBitmap): void;
  test(page: number): boolean;
  /** Page runs as pairs (first page, page count), ascending. At most 2^27 runs. */
  runs(): Float64Array;
  /** The words themselves, little endian, bit i of word w = page 64w+i (copied in). */
  load(words: Uint8Array): void;
}

/** Reads and resets, in one ioctl, the pages another process wrote (PAGEMAP_SCAN, Linux >= 6.7). */
export interface PagemapScan {
  /** ORs pages written since the last call into `into`; returns how many the kernel named. Throws with `code` ESRCH etc. */
  take(into: DirtyBitmap): number;
  close(): void;
}

/** One encoded chunk; `buffer` is a view of a slab that stays valid until release(). */
export interface EncodedChunk {
  /** Give back with Encoder.release() once the chunk need never be sent again. */
  slab: number;
  /** The whole slab view: CHUNK_HEADROOM_BYTES free bytes, then the payload. */
  buffer: Buffer;
  payloadBytes: number;
  /** CRC-32C of the payload. */
  crc32c: number;
  /** Pages named in the chunk. */
  pages: number;
}

export interface EncodeResult {
  chunks: EncodedChunk[];
  /** False when slabs ran out: the bits of the pages not yet encoded are still set in the bitmap; release some and call again. */
  complete: boolean;
  /** Dirty pages looked at, and of these: unchanged (not sent), zero, whole, delta. */
  dirtyPages: number;
  unchangedPages: number;
  zeroPages: number;
  wholePages: number;
  deltaPages: number;
  changedWords: number;
  payloadBytes: number;
  /** Pages with words that were sent as copies of what stands elsewhere, in how many runs, and how many of their words changed. */
  copiedPages: number;
  copyRuns: number;
  copiedWords: number;
  /** Looking for copies, the time of all threads together. */
  copiesNs: number;
  scanNs: number;
  encodeNs: number;
}

/** What changes are cut into: 'bytes' is smaller as it is, 'words' once it is compressed, for more time. */
export type Grain = 'words' | 'bytes';

export interface EncoderOptions {
  memory: Memory;
  /**
   * Holds what was encoded last and is updated in the same pass. Smaller than memory, it keeps the pages dirtied most
   * recently; pages whose copy was dropped, or all where there is no shadow, are sent anew when they are dirtied.
   */
  shadow?: Memory;
  threads: number;
  /** Payload room of one slab; a chunk never grows past it. Default 1 MiB. */
  slabBytes?: number;
  /** Bound of all memory that encoded, unreleased chunks take. Default 64. */
  maxSlabs?: number;
}

/** Compares dirty pages with the shadow copy in 8-byte words and encodes what changed (FITDOC, J. Supercomputing 2015). */
export interface Encoder {
  /**
   * Encodes pages set in `dirty`, clears their bits, updates the shadow. One call at a time. With `copies`, what the shadow has
   * elsewhere is named and not sent: all chunks until one call is complete must then be applied together (FORMAT.md).
   */
  encode(dirty: DirtyBitmap, grain?: Grain, copies?: boolean): Promise<EncodeResult>;
  /** Looks at some `pages` pages more of the shadow, so that they are found as what may be copied; false once all were. One call at a time. */
  noteShadow(pages: number): Promise<boolean>;
  /** Memory of the index that copies are found by, 0 while there is none. */
  readonly indexBytes: number;
  release(slab: number): void;
  readonly freeSlabs: number;
  /** Incremental digest of what was encoded; of a full shadow, equal to digestOf(shadow): see native/engine/digest.h. */
  readonly digest: bigint;
  /** Sets the digest, after the shadow was filled by other means. */
  resetDigest(digest: bigint): void;
  close(): void;
}

/** A zstd file being unpacked, from its start. One read at a time. */
export interface ZstdFile {
  /** Fills `into`; resolves to fewer bytes only where the content ends. Rejects with `code` EBADMSG if the file is damaged or cut short. */
  fill(into: Uint8Array): Promise<number>;
  close(): void;
}

export interface ApplyResult {
  pages: number;
  /** Add to the digest before, modulo 2^64, to get the image's digest after. */
  digestDelta: bigint;
  applyNs: number;
}

export interface CompressOptions {
  /** zstd level, -7 to 19. */
  level?: number;
  /** Looks for repeats over the whole payload. */
  longWindow?: boolean;
}

/** Where a relay stands; sizes in bytes, times in ms. */
export interface RelayCounts {
  heldPackets: number;
  heldBytes: number;
  /** How long the oldest held frame has waited; 0 when none is held. */
  oldestHeldMs: number;
  outPackets: number;
  outBytes: number;
  inPackets: number;
  /** Released frames that the tap refused, as when somebody set it down. */
  refusedPackets: number;
  /** From the first frame of the last release to its last. */
  releaseMs: number;
  /** QEMU is at the other end. */
  connected: boolean;
  open: boolean;
}

/** Output gate between QEMU's stream netdev and a tap, on a thread of its own; shut from the start. Errors carry an errno's `code`. */
export interface Relay {
  /** Connects to QEMU's listening unix socket; until then frames for the guest are thrown away. */
  connect(path: string): void;
  /** All output up to now belongs to `epoch` (from 1); later output is held. Call it while the guest is paused. */
  seal(epoch: number): void;
  /** Lets out what belongs to epochs up to `epoch` while bootTimeMs() is below `untilMs`. Returns before it is done. */
  release(epoch: number, untilMs: number): void;
  /** Lets everything out, until seal() or shut(). */
  open(): void;
  /** Nothing leaves, permits are void; what is held stays held. */
  shut(): void;
  /** Throws away what is held. */
  discard(): void;
  /** Sends an Ethernet frame of our own on the tap; throws EPERM unless open. */
  inject(frame: Uint8Array): void;
  counts(): RelayCounts;
  /** Closes tap and socket; what is held is dropped. Any later call throws EBADF. */
  end(): void;
}

export interface RelayOptions {
  /** Name of the tap (at most 15 bytes); made unless it is there, and then gone with the relay. */
  tap: string;
  /** Bridge the tap is joined to. */
  bridge?: string;
  /** At either bound nothing more is read from QEMU: the guest's sending waits. */
  maxHeldBytes: number;
  maxHeldPackets: number;
  /** 'pressure': half of a bound is reached. 'disconnected': QEMU is gone. */
  onEvent(event: 'pressure' | 'disconnected'): void;
}

/** One payload of disk changes lying in a slab, as an EncodedChunk does. */
export type DiskChunk = Omit<EncodedChunk, 'pages'>;

/** What a disk has served and what it holds; sizes in bytes. */
export interface DiskCounts {
  reads: number;
  writes: number;
  flushes: number;
  readBytes: number;
  writtenBytes: number;
  /** Writes refused because the disk is shut for writing. */
  refused: number;
  /** Changed since the last seal. */
  runningBytes: number;
  /** Of the sealed epoch, not taken yet. */
  sealedBytes: number;
  /** Old content kept for the sealed epoch. */
  preservedBytes: number;
  /** May differ from the other host's disk. */
  dirtyBytes: number;
  /** NBD clients now. */
  connections: number;
}

/** One disk of a guest on this host: an NBD server on threads of its own, and which blocks changed in which epoch. */
export interface Disk {
  readonly sizeBytes: number;
  /** Serves the disk on a unix socket, as export `name` or none; replaces what lies at `path`. */
  serve(path: string, name: string): void;
  /** Shut from the start: writes are refused (EPERM). */
  setWritable(writable: boolean): void;
  /**
   * All that changed so far belongs to `epoch`; call it while the guest is paused and its requests are answered. Epoch 0 is
   * a copy beside a running guest, which is not of one moment.
   */
  seal(epoch: number): void;
  /** The sealed epoch's payloads, as many as slabs are free; `complete` once there are no more. One call at a time. */
  take(): Promise<{ chunks: DiskChunk[]; complete: boolean }>;
  release(slab: number): void;
  /** The other host has this epoch and all before it. */
  commit(epoch: number): void;
  /** What was sealed and not committed belongs to the running epoch again; a take() under way throws ECANCELED. */
  giveUp(): void;
  /** The running epoch is all that the dirty map names; with `holes`, holes of the image travel as holes. */
  beginCopy(holes: boolean): void;
  /** Whether a guest that writes faster than epochs are taken is slowed, and `onPressure` called. */
  setPaced(paced: boolean): void;
  /** Checks a payload and marks its blocks as differing; EBADMSG if it does not decode within this disk. */
  expect(payload: Uint8Array): Promise<void>;
  /** Writes payloads into the image; twice does no harm. */
  apply(payloads: Uint8Array[]): Promise<void>;
  /** All that was written is on stable storage. */
  flush(): Promise<void>;
  /** flush(), and then the parts of the dirty map that have settled are let go. For every some seconds. */
  rest(): Promise<void>;
  /** The dirty map, one bit a block, little endian. */
  dirtyBits(): Buffer;
  /** Adds the other host's dirtyBits(); EINVAL unless of a disk of the same size. */
  mergeDirty(bits: Uint8Array): void;
  markAllDirty(): void;
  /** The blocks of these applied payloads, or all, no longer differ. */
  clearDirty(payloads?: Uint8Array[]): void;
  /** Name of the pair of disks whose difference the dirty map is; '' if there is none. At most 64 bytes. */
  pair(): string;
  setPair(pair: string): void;
  counts(): DiskCounts;
  /** Hangs up on clients once their requests are done, and closes all. Any later call throws EBADF. */
  end(): void;
}

export interface DiskOptions {
  /** Image file or block device; opened for this process alone. */
  path: string;
  /** File of the dirty map, made if need be: all then differs. */
  mapPath: string;
  /** Makes a sparse image of this size unless there is one. */
  createBytes?: number;
  /** Slabs of 1 MiB for payloads taken and not released. Default 32. */
  maxSlabs?: number;
  /** Bound of old content kept for a sealed epoch; at it, writes wait. Default 64 MiB. */
  preservedBytes?: number;
  /** Changed in one epoch, from where on a paced guest is slowed. Default 256 MiB. */
  runningBytes?: number;
  /** Half of runningBytes is reached: the epoch should end. */
  onPressure(): void;
}

export interface NativeEngine {
  /**
   * Maps a file (or /proc/PID/fd/N); creates and reserves its space when asked (throws `code` ENOSPC rather than SIGBUS later).
   * With `sparse` space is reserved by applyPayloads alone, for the pages that payloads bring, and that throws ENOSPC.
   */
  openMemory(
    path: string,
    options: { sizeBytes: number; writable?: boolean; create?: boolean; reserve?: boolean; sparse?: boolean },
  ): Memory;
  anonymousMemory(sizeBytes: number): Memory;
  /**
   * Read-only view of memory that another addon of this process maps at `address` (Xen's foreign map of a guest).
   * Whoever mapped it must outlive every use of the view; close() does not unmap.
   */
  viewMemory(address: bigint, sizeBytes: number): Memory;
  createBitmap(pages: number): DirtyBitmap;
  /** Whether this kernel has PAGEMAP_SCAN. */
  pagemapScanSupported(): boolean;
  openPagemapScan(pid: number, address: bigint, sizeBytes: number): PagemapScan;
  createEncoder(options: EncoderOptions): Encoder;
  /** Checks that a payload decodes within an image of `pages` pages, touching nothing; returns its page count, throws `code` EBADMSG. */
  checkPayload(payload: Uint8Array, pages: number): number;
  /** checkPayload() within a sparse memory, and takes space for the pages it will write; throws `code` EBADMSG or ENOSPC. */
  reservePayload(memory: Memory, payload: Uint8Array): number;
  /** Whether checked payloads may be one epoch; throws `code` EBADMSG. */
  checkEpoch(payloads: Uint8Array[]): void;
  /** Applies the decoded payloads of an epoch to memory, in parallel; they must name disjoint pages. Applying twice does no harm. */
  applyPayloads(memory: Memory, payloads: Uint8Array[], threads: number): Promise<ApplyResult>;
  /** Digest of a whole range, a full parallel pass. An all-zero range has digest 0. */
  digestOf(memory: Memory, threads: number): Promise<bigint>;
  crc32c(data: Uint8Array): number;
  /**
   * Compresses with zstd into `target`; resolves to the bytes written, or 0 when the result does not fit it, and to the
   * time it took, of a processor and by the clock, without waiting for a thread. So offer no more room than a saving is
   * worth: `target.subarray(0, payload.length * 7 / 8)`. Level 1 if not given.
   */
  compress(
    payload: Uint8Array,
    target: Uint8Array,
    options?: CompressOptions,
  ): Promise<{ bytes: number; cpuNs: number; wallNs: number }>;
  /** Decompresses what compress() gave; resolves to the bytes written; `code` EBADMSG if malformed or longer than `target`. */
  decompress(payload: Uint8Array, target: Uint8Array): Promise<number>;
  /** Throws `code` ENOENT and its like if the file cannot be opened. */
  openZstdFile(path: string): ZstdFile;
  /**
   * Clears the bits of pages that were never given memory, and so are zero; returns how many bits remain. A page written
   * for the first time meanwhile may count as untouched: whoever tracks writes must have begun to before.
   */
  skipUntouched(memory: Memory, pages: DirtyBitmap): number;
  /** Numbers of the pages set, ascending. */
  pageNumbers(bitmap: DirtyBitmap): Uint32Array;
  /** Sets the bits of the pages that a decoded payload names; throws `code` EBADMSG, setting nothing, if it is malformed. */
  markPages(payload: Uint8Array, into: DirtyBitmap): void;
  /** memory ^= data, page by page: `data` holds 4096 bytes for each listed page. RangeError for a page beyond the end. */
  xorPages(memory: Memory, pages: Uint32Array, data: Uint8Array): void;
  /** Fills `out` with memory ^ previous of the listed pages, then makes these pages of `previous` those of `memory`. */
  diffPages(memory: Memory, previous: Memory, pages: Uint32Array, out: Uint8Array): void;
  copyPages(from: Memory, to: Memory, pages: Uint32Array): void;
  /** Fills `out` with the listed pages. */
  gatherPages(memory: Memory, pages: Uint32Array, out: Uint8Array): void;
  /** One hash per page from `first` on, 0 for a page of zeros; at most 16384 pages a call. */
  pageHashes(memory: Memory, first: number, count: number): BigUint64Array;
  /** The lowest page in which two memories of the same size differ, or -1; a full parallel pass. */
  firstDifference(a: Memory, b: Memory, threads: number): Promise<number>;
  /** Throws EPERM without CAP_NET_ADMIN, EBUSY when another process holds the tap, ENODEV without the bridge. */
  openRelay(options: RelayOptions): Relay;
  /** Throws EBUSY when another process has the image open, ENOENT without image and createBytes, EINVAL for what is no disk. */
  openDisk(options: DiskOptions): Disk;
  /**
   * Sends one netlink request and returns the kernel's first answer. With `untilMs`, throws ETIME instead of sending once
   * bootTimeMs() has reached it. `protocol` is rtnetlink's (0) if not given.
   */
  netlinkRequest(request: Uint8Array, untilMs?: number, protocol?: number): Buffer;
  /** Sends an Ethernet frame from an interface of this host; throws ENODEV, ENETDOWN, EPERM. */
  sendFrame(interfaceName: string, frame: Uint8Array): void;
  /**
   * Connects to an NBD server's unix socket, up to where requests begin: for the kernel's client to take over. Whoever
   * calls closes `fd`. Throws ENOENT, ECONNREFUSED, EPROTO, ETIMEDOUT.
   */
  connectNbd(socketPath: string, exportName: string): { fd: number; sizeBytes: number; flags: number };
  /** CLOCK_BOOTTIME in ms: the one clock of promises and permits, which goes on while the machine sleeps. */
  bootTimeMs(): number;
  /** fsync and friends are Node's; this gives instruction sets and the kernels chosen. */
  cpu(): { arch: string; features: string[]; kernels: { scan: string; delta: string; apply: string } };
}

/** Loaded on first use so that `romulus doctor` can explain a missing build instead of dying on import. */
let loaded: NativeEngine | undefined;
export function engine(): NativeEngine {
  loaded ??= createRequire(import.meta.url)('#engine') as NativeEngine;
  return loaded;
}
