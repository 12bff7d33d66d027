/** Payloads compressed with zstd: from memory to memory, contexts reused, every size bounded. */
#pragma once

#include <cstdint>
#include <span>

#include "status.h"

namespace romulus {

struct CompressOptions {
  /** zstd's levels; 1 is the fastest of the ordinary ones. */
  int level = 1;
  /** Also look for repeats far back (long-distance matching over the whole payload). */
  bool long_window = false;
};

inline constexpr int kMinCompressionLevel = -7;
inline constexpr int kMaxCompressionLevel = 19;

/**
 * Compresses `from` into `to`; `written` is 0 when the result does not fit, so a caller who only wants savings of some
 * size offers no more room than that; or, up to level 3, when samples of a large payload do not promise as much.
 */
Status compress(std::span<const uint8_t> from, std::span<uint8_t> to, const CompressOptions& options,
                uint64_t& written) noexcept;

/** Decompresses one frame; EBADMSG if it is malformed, or its content is longer than `to` or of unstated length. */
Status decompress(std::span<const uint8_t> from, std::span<uint8_t> to, uint64_t& written) noexcept;

}  // namespace romulus
