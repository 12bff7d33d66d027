/** The units everything is counted in: 4 KiB pages, 64-byte lines, 8-byte words. */
#pragma once

#include <cstddef>
#include <cstdint>

namespace romulus {

inline constexpr uint64_t kPageBytes = 4096;
inline constexpr uint64_t kLineBytes = 64;
inline constexpr uint64_t kWordBytes = 8;
inline constexpr uint64_t kLinesPerPage = kPageBytes / kLineBytes;
inline constexpr uint64_t kWordsPerLine = kLineBytes / kWordBytes;
inline constexpr uint64_t kWordsPerPage = kPageBytes / kWordBytes;

/** 8 TiB of guest. Page numbers below this fit 32 bits in page lists; byte addresses are always 64 bits. */
inline constexpr uint64_t kMaxPages = uint64_t{1} << 31;

inline constexpr uint64_t pages_in(uint64_t bytes) noexcept { return bytes / kPageBytes; }

}  // namespace romulus
