/**
 * A yardstick: QEMU's XBZRLE page format, written anew from its description (QEMU, docs/xbzrle.txt). A page is a list of
 * (length of unchanged run, length of changed run, changed bytes), lengths as uleb128; the last unchanged run is left out.
 */
#pragma once

#include <cstdint>
#include <span>

namespace romulus::bench {

/** Longer deltas are sent as whole pages, as QEMU does. */
inline constexpr uint64_t kXbzrleMost = 4096;

/** Bytes written to `out` (room: 8192), 0 for an unchanged page, kXbzrleMost if the delta would be no smaller. */
using XbzrleEncode = uint64_t (*)(const uint8_t* before, const uint8_t* after, uint8_t* out) noexcept;

uint64_t xbzrle_encode_scalar(const uint8_t* before, const uint8_t* after, uint8_t* out) noexcept;
/** With AVX-512 where there is AVX-512, else the scalar form. */
uint64_t xbzrle_encode_simd(const uint8_t* before, const uint8_t* after, uint8_t* out) noexcept;

/** Applies a delta to the page before it; false if malformed. */
bool xbzrle_decode(std::span<const uint8_t> delta, uint8_t* page) noexcept;

}  // namespace romulus::bench
