/** The functions that exist once per instruction set, and the table that names the chosen ones. */
#pragma once

#include <cstddef>
#include <cstdint>

#include "page.h"

namespace romulus {

/** Kernels may write this many bytes past what they return; every output buffer has room for it. */
inline constexpr size_t kStoreSlackBytes = 64;

/** What comparing one page with its shadow found. */
struct PageDelta {
  /** Bit l: line l changed. 0: the page did not change. */
  uint64_t line_mask = 0;
  /** Changed words; 8 * words bytes were written to the data stream. */
  uint32_t words = 0;
  /** The page is all zero now. Only meaningful if it changed. */
  bool zero = false;
  uint64_t digest_change = 0;
};

struct PageEncode {
  /** Guest memory; it may change while it is read, so each line is encoded from one load of it. */
  const uint8_t* source;
  uint8_t* shadow;
  uint64_t page;
  /** Receives one byte per changed line: bit j = word j changed. Room for 64 bytes. */
  uint8_t* word_masks;
  /** Receives the changed words' new values. Room for a page and kStoreSlackBytes. */
  uint8_t* data;
  /** Page to pull into the caches meanwhile; any readable page of both mappings. */
  const uint8_t* ahead_source;
  const uint8_t* ahead_shadow;
};

struct Kernels {
  const char* name;
  /** Lists the set bits of `words` as page numbers from `first_page` and clears them; returns how many. `out` has slack. */
  size_t (*take_pages)(uint64_t* words, size_t count, uint64_t first_page, uint32_t* out) noexcept;
  /** Compares, encodes, updates the shadow and the digest, all from one read of each line. */
  PageDelta (*encode_page)(const PageEncode& in) noexcept;
  /** Writes the words a delta names; returns the digest change. `data` holds exactly the named words, `data_end` bounds reads. */
  uint64_t (*apply_delta)(uint8_t* page, uint64_t page_number, uint64_t line_mask, const uint8_t* word_masks,
                          const uint8_t* data, const uint8_t* data_end) noexcept;
  /** Replaces a page (`data` null: by zeros); returns the digest change. */
  uint64_t (*apply_page)(uint8_t* page, uint64_t page_number, const uint8_t* data) noexcept;
  /** Digest of `lines` lines, the first of which has number `first_line`. */
  uint64_t (*digest_lines)(const uint8_t* from, uint64_t first_line, uint64_t lines) noexcept;
};

extern const Kernels kPortableKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
#endif

}  // namespace romulus
