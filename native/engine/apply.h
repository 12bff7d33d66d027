/** Puts payloads into an image, and digests whole ranges: the backup's half. */
#pragma once

#include <cstdint>
#include <span>

#include "epoch_parts.h"
#include "mapping.h"
#include "status.h"

namespace romulus {

struct ApplyOutcome {
  uint64_t pages = 0;
  uint64_t digest_change = 0;
  uint64_t apply_ns = 0;
};

/** Takes blocks for the pages of a checked chunk, where a sparse image has none yet; ENOSPC. */
Status reserve_chunk(Mapping& image, std::span<const uint8_t> chunk) noexcept;

/**
 * Checks all chunks of an epoch, given in any order, then applies them, in parallel within each part (epoch_parts.h); EBADMSG
 * leaves the image as it was. Payloads name disjoint pages: if they do not, the image holds one or the other and the digest
 * change is wrong, no worse.
 */
Status apply_epoch(Mapping& image, Chunks chunks, uint32_t threads, ApplyOutcome& outcome) noexcept;

/** Digest of a whole range, a full pass. */
uint64_t digest_of(const Mapping& range, uint32_t threads) noexcept;

}  // namespace romulus
