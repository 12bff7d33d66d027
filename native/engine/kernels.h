/** The functions that exist once per instruction set, and the table that names the chosen ones. */
#pragma once

#include <cstddef>
#include <cstdint>

#include "anchors.h"
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

/** What a look over a bitmap found. */
struct DirtyWords {
  uint64_t words = 0;
  uint64_t pages = 0;
};

struct Kernels {
  const char* name;
  /** Lists the numbers, from `first_word` on, of the words that have bits set; touches nothing else. `out` has slack. */
  DirtyWords (*find_words)(const uint64_t* words, size_t count, uint32_t first_word, uint32_t* out) noexcept;
  /** Lists the pages that the found words of `bitmap` name, and clears these words; returns how many. `out` has slack. */
  size_t (*take_pages)(uint64_t* bitmap, const uint32_t* found, size_t count, uint32_t* out) noexcept;
  /** Compares, encodes, updates the shadow and the digest, all from one read of each line. */
  PageDelta (*encode_page)(const PageEncode& in) noexcept;
  /** Which lines of two pages differ: bit l for line l. Nothing is written. */
  uint64_t (*changed_lines)(const uint8_t* source, const uint8_t* shadow) noexcept;
  /** The anchors among the windows that begin in the lines named and end within the page; windows of one word repeated are none. */
  void (*find_anchors)(const uint8_t* page, uint64_t line_mask, Anchors& found) noexcept;
  /** Writes what a checked delta names; returns the digest change. */
  uint64_t (*apply_delta)(uint8_t* page, uint64_t page_number, const DeltaView& delta) noexcept;
  /** Replaces a page (`data` null: by zeros); returns the digest change. */
  uint64_t (*apply_page)(uint8_t* page, uint64_t page_number, const uint8_t* data) noexcept;
  /** Digest of `lines` lines, the first of which has number `first_line`. */
  uint64_t (*digest_lines)(const uint8_t* from, uint64_t first_line, uint64_t lines) noexcept;
};

/**
 * Pulls both versions of a page to come towards the processor, some lines of each with each line of the page at hand that is
 * looked at: memory then is busy all the while. Only as far as the second-level cache: the first has so few places for lines
 * on their way that it, and not memory, was the limit (a third of the rate of reading).
 */
class Ahead {
 public:
  explicit Ahead(const PageEncode& in) noexcept : source_(in.ahead_source), shadow_(in.ahead_shadow) {}
  /** The next line, if any is left. */
  void next() noexcept {
    constexpr int kRead = 0;
    constexpr int kSecondLevel = 2;
    if (at_ == kPageBytes) return;
    __builtin_prefetch(source_ + at_, kRead, kSecondLevel);
    __builtin_prefetch(shadow_ + at_, kRead, kSecondLevel);
    at_ += kLineBytes;
  }
  void some(uint64_t lines) noexcept {
    for (; lines > 0; lines--) next();
  }
  /** All that are left. */
  void end() noexcept {
    while (at_ < kPageBytes) next();
  }

 private:
  const uint8_t* source_;
  const uint8_t* shadow_;
  uint64_t at_ = 0;
};

extern const Kernels kPortableKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels;
extern const Kernels kAvx512Kernels;
#endif

}  // namespace romulus
