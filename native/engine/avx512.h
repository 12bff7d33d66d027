/** What the files compiled for AVX-512 with VBMI2 (Ice Lake, Zen 4 and later) share. */
#pragma once

#if defined(__x86_64__)

// GCC 12's own intrinsics read "undefined" registers on purpose and warn about it.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels.h"

#define ROMULUS_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,avx512bitalg,avx512vpopcntdq,bmi,bmi2,popcnt,lzcnt")))

namespace romulus::avx512 {

/** Not _mm512_reduce_add_epi64: that one adds signed, where wrapping is undefined. */
ROMULUS_AVX512 inline uint64_t sum(__m512i lanes) noexcept {
  alignas(64) uint64_t parts[8];
  _mm512_store_si512(parts, lanes);
  return parts[0] + parts[1] + parts[2] + parts[3] + parts[4] + parts[5] + parts[6] + parts[7];
}

/** digest_mix() of eight words. */
ROMULUS_AVX512 inline __m512i mix(__m512i x) noexcept {
  const __m512i swapped = _mm512_shuffle_epi32(x, static_cast<_MM_PERM_ENUM>(0xb1));
  return _mm512_add_epi64(_mm512_mul_epu32(x, swapped), swapped);
}

/** Kernels::find_words() and Kernels::take_pages(). */
DirtyWords find_words(const uint64_t* words, size_t count, uint32_t first_word, uint32_t* out) noexcept;
size_t take_pages(uint64_t* bitmap, const uint32_t* found, size_t count, uint32_t* out) noexcept;
/** Kernels::changed_lines() and Kernels::find_anchors(). */
uint64_t changed_lines(const uint8_t* source, const uint8_t* shadow) noexcept;
void find_anchors(const uint8_t* page, uint64_t line_mask, Anchors& found) noexcept;

}  // namespace romulus::avx512

#endif
