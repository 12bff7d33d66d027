/** The copies payload (FORMAT.md): runs of words that stand elsewhere in the image, and a reader that trusts no byte of it. */
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "page.h"
#include "status.h"

namespace romulus {

/** "RCP1": Romulus copies, version 1. */
inline constexpr uint32_t kCopiesMagic = 0x31504352;
/** No epoch has more; a receiver checks this before it allocates. */
inline constexpr uint32_t kMaxCopyRuns = 65536;

/** Header as it lies at the start of a copies payload, little endian; the three streams follow in this order. */
struct CopiesHeader {
  uint32_t magic;
  uint32_t runs;
  uint32_t target_bytes;
  uint32_t length_bytes;
  uint32_t source_bytes;
};
inline constexpr uint64_t kCopiesHeaderBytes = 20;
static_assert(sizeof(CopiesHeader) == kCopiesHeaderBytes);
/** Of one run: 40 bits of target, 9 of length, 41 of source, each in groups of 7. */
inline constexpr uint64_t kMaxCopyRunBytes = 6 + 2 + 6;

/** `words` words at word `source` of the image also belong at word `target`. Neither side leaves its page. */
struct CopyRun {
  uint64_t target;
  uint64_t source;
  uint32_t words;

  uint64_t target_page() const noexcept { return target / kWordsPerPage; }
  uint64_t source_page() const noexcept { return source / kWordsPerPage; }
};

/** Whether a payload says to be one of copies. */
bool is_copies(std::span<const uint8_t> payload) noexcept;

/** Writes runs, ascending by target and apart, at `to`, which has room for kMaxCopyRunBytes each and the header; returns the bytes. */
uint64_t write_copies(std::span<const CopyRun> runs, uint8_t* to) noexcept;

/**
 * Reads all runs, ascending and apart, within an image of `pages` pages, no source in a page that one of them writes to;
 * EBADMSG for anything else.
 */
Status read_copies(std::span<const uint8_t> payload, uint64_t pages, std::vector<CopyRun>& runs) noexcept;

/** The pages that runs in ascending order write to, each once, ascending. */
std::vector<uint64_t> target_pages(std::span<const CopyRun> runs) noexcept;

}  // namespace romulus
