/** Set bits of one bitmap word as page numbers, without vector instructions of any particular processor. */
#pragma once

#include <cstdint>

#include "bits.h"

namespace romulus {

/** Numbers written at once; the last group of a run may reach beyond its end, into the list's slack. */
inline constexpr uint32_t kListGroup = 8;

inline void list_group(uint32_t first, uint32_t* out) noexcept {
  for (uint32_t i = 0; i < kListGroup; i++) out[i] = first + i;
}

/** Dirty pages cluster: a word of few runs is written run by run, any other bit by bit. Returns the end of the list. */
inline uint32_t* list_bits(uint64_t bits, uint32_t base, uint32_t* out) noexcept {
  const uint32_t count = popcount64(bits);
  const uint32_t runs = popcount64(bits & ~(bits << 1));
  if (count < 4 * runs) {
    uint32_t* const end = out + count;
    // In groups, so that the number of bits decides few branches; what is written beyond the end does not count.
    while (out < end) {
      for (uint32_t i = 0; i < 4; i++) {
        out[i] = base + lowest_bit(bits | uint64_t{1} << 63);
        bits &= bits - 1;
      }
      out += 4;
    }
    return end;
  }
  while (bits != 0) {
    const uint32_t first = lowest_bit(bits);
    const uint64_t rest = ~(bits >> first);
    const uint32_t length = rest == 0 ? 64 : lowest_bit(rest);
    for (uint32_t i = 0; i < length; i += kListGroup) list_group(base + first + i, out + i);
    out += length;
    if (first + length >= 64) break;
    bits &= ~uint64_t{0} << (first + length);
  }
  return out;
}

}  // namespace romulus
