/**
 * Digest of memory: 64 bits, independent of order, updated for changed words only.
 *
 *   digest = sum over all words i of  m(w[i] ^ K(i)) - m(K(i))   (mod 2^64)
 *
 * A zero word adds nothing, so an all-zero image has digest 0 and a sparse one is cheap. K(8l+j) mixes the line number l
 * and differs per lane j, so words that trade places change the sum. m(x) = lo32(x) * hi32(x) + rot32(x) is the mixer of
 * XXH3's accumulators: one 32x32->64 multiply, which, unlike a 64x64->128 one, every SIMD level can do for a whole line.
 * It finds torn, lost and misplaced words; it is no defence against somebody who forges memory (TLS is).
 */
#pragma once

#include <cstdint>

#include "page.h"

namespace romulus {

inline constexpr uint64_t kLaneKeys[kWordsPerLine] = {
    0xb8fe6c3923a44bbeu, 0x7c01812cf721ad1cu, 0xded46de9839097dbu, 0x7240a4a4b7b3671fu,
    0xcb79e64eccc0e578u, 0x825ad07dccff7221u, 0xb8084674f743248eu, 0xe03590e6813a264cu};

/** The key all words of a line share; `line` is the byte offset / 64. */
inline uint64_t line_key(uint64_t line) noexcept {
  uint64_t z = (line + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  return z ^ (z >> 31);
}

inline uint64_t digest_mix(uint64_t x) noexcept {
  return (x & 0xffffffffu) * (x >> 32) + (x << 32 | x >> 32);
}

/** What replacing `before` by `after` in lane `lane` of a line with key `key` adds to the digest. */
inline uint64_t digest_change(uint64_t key, uint64_t lane, uint64_t before, uint64_t after) noexcept {
  const uint64_t k = key ^ kLaneKeys[lane];
  return digest_mix(after ^ k) - digest_mix(before ^ k);
}

}  // namespace romulus
