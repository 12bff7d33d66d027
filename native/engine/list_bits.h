/** Set bits of bitmap words as page numbers, without vector instructions of any particular processor; inlined into kernels that have some. */
#pragma once

#include <cstddef>
#include <cstdint>

#include "bits.h"
#include "kernels.h"

namespace romulus {

/** Bits listed without a branch between them; what is written beyond the last lies in the list's slack. */
inline constexpr uint32_t kListGroup = 8;

#define ROMULUS_ALWAYS_INLINE inline __attribute__((always_inline))

/** Returns the end of the list. */
ROMULUS_ALWAYS_INLINE uint32_t* list_bits(uint64_t bits, uint32_t base, uint32_t* out) noexcept {
  if (bits == ~uint64_t{0}) {  // the inside of a run
    for (uint32_t i = 0; i < 64; i++) out[i] = base + i;
    return out + 64;
  }
  uint32_t* const end = out + popcount64(bits);
  // In groups, so that the number of bits decides few branches: they are as good as random.
  for (; out < end; out += kListGroup) {
    for (uint32_t i = 0; i < kListGroup; i++) {
      out[i] = base + lowest_bit(bits | uint64_t{1} << 63);
      bits &= bits - 1;
    }
  }
  return end;
}

/** Kernels::take_pages(). */
ROMULUS_ALWAYS_INLINE size_t take_listed(uint64_t* bitmap, const uint32_t* found, size_t count, uint32_t* out) noexcept {
  uint32_t* const start = out;
  for (size_t i = 0; i < count; i++) {
    out = list_bits(bitmap[found[i]], found[i] * 64, out);
    bitmap[found[i]] = 0;
  }
  return static_cast<size_t>(out - start);
}

/** Lists which of the words `from` to `end` have bits set, without a branch: it is as good as random. */
template <typename Popcount>
ROMULUS_ALWAYS_INLINE void list_words(const uint64_t* words, size_t from, size_t end, uint32_t first_word, uint32_t* out,
                                      DirtyWords& found, Popcount popcount) noexcept {
  for (size_t w = from; w < end; w++) {
    out[found.words] = first_word + static_cast<uint32_t>(w);
    found.words += words[w] != 0;
    found.pages += popcount(words[w]);
  }
}

}  // namespace romulus
