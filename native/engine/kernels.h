/** The functions that exist once per instruction set, and the table that names the chosen ones. */
#pragma once

#include <cstddef>
#include <cstdint>

#include "delta.h"
#include "page.h"

namespace romulus {

/** Kernels may write this many bytes past what they return; every output buffer has room for it. */
inline constexpr size_t kStoreSlackBytes = 64;

struct PageEncode {
  /** Guest memory; it may change while it is read, so each line is encoded from one load of it. */
  const uint8_t* source;
  uint8_t* shadow;
  uint64_t page;
  Grain grain;
  /** Most lines will have changed, as in the page before: a kernel may do without a first look at which ones. */
  bool expects_dense;
  /** Receives the masks of the changed lines. Room for kMaxPageMaskBytes and kStoreSlackBytes. */
  uint8_t* masks;
  /** Receives new values. Room for a page and kStoreSlackBytes. */
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
  /** Writes what a checked delta names; returns the digest change. */
  uint64_t (*apply_delta)(uint8_t* page, uint64_t page_number, const DeltaView& delta) noexcept;
  /** Replaces a page (`data` null: by zeros); returns the digest change. */
  uint64_t (*apply_page)(uint8_t* page, uint64_t page_number, const uint8_t* data) noexcept;
  /** Digest of `lines` lines, the first of which has number `first_line`. */
  uint64_t (*digest_lines)(const uint8_t* from, uint64_t first_line, uint64_t lines) noexcept;
};

/**
 * Pulls both versions of a page to come into the caches, spread over the work on the current page: memory then is busy all
 * the while, and the comparison of this page does not queue behind the next one's lines.
 */
class Ahead {
 public:
  /** step() will be called once for each of so many changed lines; the other lines are asked for now. */
  Ahead(const PageEncode& in, uint32_t changed_lines) noexcept : source_(in.ahead_source), shadow_(in.ahead_shadow) {
    for (uint64_t l = changed_lines; l < kLinesPerPage; l++) step();
  }
  void step() noexcept {
    __builtin_prefetch(source_);
    __builtin_prefetch(shadow_);
    source_ += kLineBytes;
    shadow_ += kLineBytes;
  }

 private:
  const uint8_t* source_;
  const uint8_t* shadow_;
};

extern const Kernels kPortableKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
#endif

}  // namespace romulus
