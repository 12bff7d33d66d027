/** Lists of dirty words and pages with AVX-512: set bits become numbers sixteen a store. */
#include "avx512.h"

#if defined(__x86_64__)

namespace romulus::avx512 {
namespace {

/**
 * Widens the byte positions in `positions` to page numbers, 16 a store, and writes at least `count` of them. All four stores at
 * any count were measured to be slower than two branches that are mispredicted at the ends of runs.
 */
ROMULUS_AVX512 inline void store_pages(__m512i positions, uint32_t base, uint32_t count, uint32_t* out) noexcept {
  const __m512i bases = _mm512_set1_epi32(static_cast<int>(base));
  _mm512_storeu_si512(out, _mm512_add_epi32(bases, _mm512_cvtepu8_epi32(_mm512_castsi512_si128(positions))));
  if (count <= 16) return;
  _mm512_storeu_si512(out + 16, _mm512_add_epi32(bases, _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(positions, 1))));
  if (count <= 32) return;
  _mm512_storeu_si512(out + 32, _mm512_add_epi32(bases, _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(positions, 2))));
  _mm512_storeu_si512(out + 48, _mm512_add_epi32(bases, _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(positions, 3))));
}

alignas(64) constexpr uint8_t kIota[64] = {
    0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
    22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
    44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};

/** What find_words() keeps from step to step. */
struct Finding {
  DirtyWords found;
  __m512i numbers;
  __m512i pages;
};

/** Sixteen words, without a branch: which of them have bits set is as good as random, and memory is the slower part. */
ROMULUS_AVX512 inline void find_in(__m512i a, __m512i b, Finding& of, uint32_t* out) noexcept {
  const auto set = static_cast<__mmask16>(_mm512_test_epi64_mask(a, a) | _mm512_test_epi64_mask(b, b) << 8);
  _mm512_storeu_si512(out + of.found.words, _mm512_maskz_compress_epi32(set, of.numbers));
  of.found.words += static_cast<uint64_t>(_mm_popcnt_u32(set));
  of.pages = _mm512_add_epi64(of.pages, _mm512_add_epi64(_mm512_popcnt_epi64(a), _mm512_popcnt_epi64(b)));
  of.numbers = _mm512_add_epi32(of.numbers, _mm512_set1_epi32(16));
}

}  // namespace

ROMULUS_AVX512 DirtyWords find_words(const uint64_t* words, size_t count, uint32_t first_word, uint32_t* out) noexcept {
  Finding of;
  of.numbers = _mm512_add_epi32(_mm512_cvtepu8_epi32(_mm_load_si128(reinterpret_cast<const __m128i*>(kIota))),
                                _mm512_set1_epi32(static_cast<int>(first_word)));
  of.pages = _mm512_setzero_si512();
  size_t w = 0;
  for (; w + 16 <= count; w += 16) find_in(_mm512_loadu_si512(words + w), _mm512_loadu_si512(words + w + 8), of, out);
  if (w < count) {
    const uint32_t rest = (1u << (count - w)) - 1;
    find_in(_mm512_maskz_loadu_epi64(static_cast<__mmask8>(rest), words + w),
            _mm512_maskz_loadu_epi64(static_cast<__mmask8>(rest >> 8), words + w + 8), of, out);
  }
  of.found.pages = sum(of.pages);
  return of.found;
}

ROMULUS_AVX512 size_t take_pages(uint64_t* bitmap, const uint32_t* found, size_t count, uint32_t* out) noexcept {
  const __m512i iota = _mm512_load_si512(kIota);
  uint32_t* const start = out;
  for (size_t i = 0; i < count; i++) {
    const uint64_t bits = bitmap[found[i]];
    bitmap[found[i]] = 0;
    const auto pages = static_cast<uint32_t>(_mm_popcnt_u64(bits));
    store_pages(_mm512_maskz_compress_epi8(bits, iota), found[i] * 64, pages, out);
    out += pages;
  }
  return static_cast<size_t>(out - start);
}

}  // namespace romulus::avx512

#endif
