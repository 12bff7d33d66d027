/** Bit counting that needs no instruction beyond the base architecture. */
#pragma once

#include <cstdint>
#include <cstring>

namespace romulus {

/** Written out, since without -mpopcnt the builtin becomes a call. */
inline uint32_t popcount64(uint64_t v) noexcept {
  v -= (v >> 1) & 0x5555555555555555u;
  v = (v & 0x3333333333333333u) + ((v >> 2) & 0x3333333333333333u);
  v = (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0fu;
  return static_cast<uint32_t>((v * 0x0101010101010101u) >> 56);
}

/** Index of the lowest set bit; `v` is not 0. */
inline uint32_t lowest_bit(uint64_t v) noexcept { return static_cast<uint32_t>(__builtin_ctzll(v)); }

template <typename T>
inline T load_le(const uint8_t* from) noexcept {
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the formats are little endian");
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <typename T>
inline void store_le(uint8_t* to, T value) noexcept {
  std::memcpy(to, &value, sizeof value);
}

}  // namespace romulus
