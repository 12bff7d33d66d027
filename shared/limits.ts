/** Limits both sides hold each other to; every length is checked against one of these before anything is allocated. */

const MiB = 1024 * 1024;

/** One wire frame: prefix, head and payload. A slab is 1 MiB, so this leaves room for a whole slab and its head. */
export const MAX_FRAME_BYTES = 2 * MiB;
/** The msgpack head of a frame. */
export const MAX_HEAD_BYTES = 64 * 1024;
/** One engine payload once decompressed: a slab, and room for the last page's head. */
export const MAX_PAYLOAD_BYTES = MiB + 64 * 1024;
/** CPU and device state of one guest. */
export const MAX_STATE_BYTES = 4 * MiB;
/** Chunks of one epoch: 1 TiB of guest, all dirty, in whole pages. */
export const MAX_CHUNKS_PER_EPOCH = 2 ** 21;
/** Epochs sent and not yet acknowledged, at most. */
export const MAX_WINDOW_EPOCHS = 64;
/** A guest's memory. */
export const MAX_RAM_BYTES = 2 ** 43;
/** Length of a VM's or node's name. */
export const MAX_NAME_LENGTH = 64;
/** Bytes of a request to the local API. */
export const MAX_API_BODY_BYTES = MiB;
/** Network devices of one guest. */
export const MAX_NETWORKS = 8;
/** Addresses of one network device. */
export const MAX_ADDRESSES = 16;
/** Output of one network device held back for want of an acknowledgement; beyond, the guest's sending waits. */
export const MAX_HELD_BYTES = 64 * MiB;
export const MAX_HELD_PACKETS = 65_536;
/** Characters of what a person says about who fenced a host. */
export const MAX_FENCE_CLAIM_LENGTH = 500;
