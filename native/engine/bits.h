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

/** Byte j is 0xff where bit j of `mask` is set, else 0. */
inline uint64_t bytes_of_bits(uint32_t mask) noexcept {
  const uint64_t spread = (mask * 0x0101010101010101u) & 0x8040201008040201u;  // bit j of byte j alone
  const uint64_t high = ((spread & 0x7f7f7f7f7f7f7f7fu) + 0x7f7f7f7f7f7f7f7fu) | spread;
  return (high >> 7 & 0x0101010101010101u) * 0xff;
}

template <typename T>
inline T load_le(const uint8_t* from) noexcept {
  static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the formats are little endian");
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

/** Up to eight bytes as a little-endian number, reading nothing at or beyond `end`. */
inline uint64_t load_up_to_8(const uint8_t* from, const uint8_t* end) noexcept {
  if (end - from >= 8) return load_le<uint64_t>(from);
  uint64_t value = 0;
  std::memcpy(&value, from, static_cast<size_t>(end - from));
  return value;
}

template <typename T>
inline void store_le(uint8_t* to, T value) noexcept {
  std::memcpy(to, &value, sizeof value);
}

}  // namespace romulus
