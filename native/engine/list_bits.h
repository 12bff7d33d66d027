/** Set bits of one bitmap word as page numbers, without vector instructions of any particular processor. */
#pragma once

#include <cstdint>

#include "bits.h"

namespace romulus {

/** Bits listed without a branch between them; what is written beyond the last lies in the list's slack. */
inline constexpr uint32_t kListGroup = 8;

/** Returns the end of the list. */
inline uint32_t* list_bits(uint64_t bits, uint32_t base, uint32_t* out) noexcept {
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

}  // namespace romulus
