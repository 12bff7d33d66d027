/** Kernels for AVX-512 with VBMI2 (Ice Lake, Zen 4 and later): a line is one register, its changed words one mask. */
#if defined(__x86_64__)

// GCC 12's own intrinsics read "undefined" registers on purpose and warn about it.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

#include <immintrin.h>

#include <cstring>

#include "bits.h"
#include "digest.h"
#include "kernels.h"

#define ROMULUS_TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi2,bmi,bmi2,popcnt,lzcnt")))

namespace romulus {
namespace {

/** One load that the compiler cannot repeat: what is compared is what is encoded. */
ROMULUS_TARGET inline __m512i load_once(const uint8_t* from) noexcept {
  __m512i line = _mm512_loadu_si512(from);
  asm("" : "+v"(line));
  return line;
}

ROMULUS_TARGET inline __m512i lane_keys(uint64_t line) noexcept {
  return _mm512_xor_si512(_mm512_set1_epi64(static_cast<long long>(line_key(line))), _mm512_loadu_si512(kLaneKeys));
}

ROMULUS_TARGET inline __m512i mix(__m512i x) noexcept {
  const __m512i swapped = _mm512_shuffle_epi32(x, static_cast<_MM_PERM_ENUM>(0xb1));
  return _mm512_add_epi64(_mm512_mul_epu32(x, swapped), swapped);
}

ROMULUS_TARGET inline __m512i change(__m512i keys, __m512i before, __m512i after) noexcept {
  return _mm512_sub_epi64(mix(_mm512_xor_si512(after, keys)), mix(_mm512_xor_si512(before, keys)));
}

/** Not _mm512_reduce_add_epi64: that one adds signed, where wrapping is undefined. */
ROMULUS_TARGET inline uint64_t sum(__m512i lanes) noexcept {
  alignas(64) uint64_t parts[8];
  _mm512_store_si512(parts, lanes);
  return parts[0] + parts[1] + parts[2] + parts[3] + parts[4] + parts[5] + parts[6] + parts[7];
}

/** Widens the byte positions in `positions` to page numbers, 16 a store, until `count` are written. */
ROMULUS_TARGET inline void store_pages(__m512i positions, uint32_t base, uint32_t count, uint32_t* out) noexcept {
  const __m512i bases = _mm512_set1_epi32(static_cast<int>(base));
  _mm512_storeu_si512(out, _mm512_add_epi32(bases, _mm512_cvtepu8_epi32(_mm512_castsi512_si128(positions))));
  if (count <= 16) return;
  _mm512_storeu_si512(out + 16, _mm512_add_epi32(bases, _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(positions, 1))));
  if (count <= 32) return;
  _mm512_storeu_si512(out + 32, _mm512_add_epi32(bases, _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(positions, 2))));
  if (count <= 48) return;
  _mm512_storeu_si512(out + 48, _mm512_add_epi32(bases, _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32(positions, 3))));
}

alignas(64) constexpr uint8_t kIota[64] = {
    0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
    22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43,
    44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63};

/** Lists and clears the bits of up to eight words. */
ROMULUS_TARGET inline uint32_t* take_block(uint64_t* words, uint32_t nonzero, uint64_t first_page, uint32_t* out) noexcept {
  const __m512i iota = _mm512_load_si512(kIota);
  for (; nonzero != 0; nonzero &= nonzero - 1) {
    const uint32_t w = lowest_bit(nonzero);
    const uint64_t bits = words[w];
    const auto count = static_cast<uint32_t>(_mm_popcnt_u64(bits));
    store_pages(_mm512_maskz_compress_epi8(bits, iota), static_cast<uint32_t>(first_page + w * 64), count, out);
    out += count;
  }
  return out;
}

ROMULUS_TARGET size_t take_pages(uint64_t* words, size_t count, uint64_t first_page, uint32_t* out) noexcept {
  uint32_t* const start = out;
  size_t w = 0;
  for (; w + 32 <= count; w += 32) {
    const __m512i a = _mm512_loadu_si512(words + w);
    const __m512i b = _mm512_loadu_si512(words + w + 8);
    const __m512i c = _mm512_loadu_si512(words + w + 16);
    const __m512i d = _mm512_loadu_si512(words + w + 24);
    const __m512i any = _mm512_or_si512(_mm512_or_si512(a, b), _mm512_or_si512(c, d));
    if (_mm512_test_epi64_mask(any, any) == 0) continue;
    const uint32_t nonzero = _mm512_test_epi64_mask(a, a) | _mm512_test_epi64_mask(b, b) << 8 |
                             _mm512_test_epi64_mask(c, c) << 16 |
                             static_cast<uint32_t>(_mm512_test_epi64_mask(d, d)) << 24;
    out = take_block(words + w, nonzero, first_page + w * 64, out);
    for (size_t k = 0; k < 4; k++) {
      if ((nonzero >> (8 * k) & 0xff) != 0) _mm512_storeu_si512(words + w + 8 * k, _mm512_setzero_si512());
    }
  }
  for (; w < count; w++) {
    if (words[w] == 0) continue;
    out = take_block(words + w, 1, first_page + w * 64, out);
    words[w] = 0;
  }
  return static_cast<size_t>(out - start);
}

/** Most pages show a word in their first lines: worth the branch. */
ROMULUS_TARGET inline bool is_zero_page(const uint8_t* page) noexcept {
  for (uint64_t l = 0; l < kLinesPerPage; l += 2) {
    const __m512i any = _mm512_or_si512(_mm512_loadu_si512(page + l * kLineBytes), _mm512_loadu_si512(page + (l + 1) * kLineBytes));
    if (_mm512_test_epi64_mask(any, any) != 0) return false;
  }
  return true;
}

/** First look: which lines differ, without branches. */
ROMULUS_TARGET inline uint64_t changed_lines(const PageEncode& in) noexcept {
  alignas(64) uint8_t masks[kLinesPerPage];
  for (uint64_t l = 0; l < kLinesPerPage; l++) {
    masks[l] = _mm512_cmpneq_epi64_mask(_mm512_loadu_si512(in.source + l * kLineBytes),
                                        _mm512_loadu_si512(in.shadow + l * kLineBytes));
  }
  const __m512i all = _mm512_load_si512(masks);
  return _mm512_test_epi8_mask(all, all);
}

/**
 * Both versions of a page to come. Between the two passes over the current page is the place for it: memory is busy while
 * the second pass computes, and the first pass of this page does not queue behind the next one's lines.
 */
ROMULUS_TARGET inline void prefetch_ahead(const PageEncode& in) noexcept {
  for (uint64_t l = 0; l < kLinesPerPage; l++) {
    _mm_prefetch(reinterpret_cast<const char*>(in.ahead_source + l * kLineBytes), _MM_HINT_T0);
    _mm_prefetch(reinterpret_cast<const char*>(in.ahead_shadow + l * kLineBytes), _MM_HINT_T0);
  }
}

ROMULUS_TARGET PageDelta encode_page(const PageEncode& in) noexcept {
  PageDelta found;
  uint8_t* masks = in.word_masks;
  uint8_t* data = in.data;
  __m512i digest = _mm512_setzero_si512();
  const uint64_t candidates = changed_lines(in);
  prefetch_ahead(in);
  for (uint64_t left = candidates; left != 0; left &= left - 1) {
    const uint64_t l = lowest_bit(left);
    uint8_t* shadow = in.shadow + l * kLineBytes;
    const __m512i after = load_once(in.source + l * kLineBytes);
    const __m512i before = _mm512_loadu_si512(shadow);
    const __mmask8 mask = _mm512_cmpneq_epi64_mask(after, before);
    if (mask == 0) continue;  // the guest wrote the old value back in between
    _mm512_storeu_si512(shadow, after);
    _mm512_storeu_si512(data, _mm512_maskz_compress_epi64(mask, after));
    data += static_cast<uint64_t>(_mm_popcnt_u32(mask)) * kWordBytes;
    *masks++ = mask;
    found.line_mask |= uint64_t{1} << l;
    digest = _mm512_add_epi64(digest, change(lane_keys(in.page * kLinesPerPage + l), before, after));
  }
  found.words = static_cast<uint32_t>((data - in.data) / kWordBytes);
  found.digest_change = sum(digest);
  found.zero = found.words != 0 && is_zero_page(in.shadow);
  return found;
}

ROMULUS_TARGET uint64_t apply_delta(uint8_t* page, uint64_t page_number, uint64_t line_mask, const uint8_t* word_masks,
                                    const uint8_t* data, const uint8_t* data_end) noexcept {
  __m512i digest = _mm512_setzero_si512();
  for (; line_mask != 0; line_mask &= line_mask - 1) {
    const uint64_t l = lowest_bit(line_mask);
    const __mmask8 mask = *word_masks++;
    const auto words = static_cast<uint64_t>(_mm_popcnt_u32(mask));
    const __m512i packed = data_end - data >= 64
                               ? _mm512_loadu_si512(data)
                               : _mm512_maskz_loadu_epi64(static_cast<__mmask8>((1u << words) - 1), data);
    uint8_t* line = page + l * kLineBytes;
    const __m512i before = _mm512_loadu_si512(line);
    const __m512i after = _mm512_mask_expand_epi64(before, mask, packed);
    _mm512_storeu_si512(line, after);
    data += words * kWordBytes;
    digest = _mm512_add_epi64(digest, change(lane_keys(page_number * kLinesPerPage + l), before, after));
  }
  return sum(digest);
}

ROMULUS_TARGET uint64_t apply_page(uint8_t* page, uint64_t page_number, const uint8_t* data) noexcept {
  __m512i digest = _mm512_setzero_si512();
  for (uint64_t l = 0; l < kLinesPerPage; l++) {
    uint8_t* line = page + l * kLineBytes;
    const __m512i before = _mm512_loadu_si512(line);
    const __m512i after = data == nullptr ? _mm512_setzero_si512() : _mm512_loadu_si512(data + l * kLineBytes);
    if (_mm512_cmpneq_epi64_mask(before, after) == 0) continue;
    _mm512_storeu_si512(line, after);
    digest = _mm512_add_epi64(digest, change(lane_keys(page_number * kLinesPerPage + l), before, after));
  }
  return sum(digest);
}

ROMULUS_TARGET uint64_t digest_lines(const uint8_t* from, uint64_t first_line, uint64_t lines) noexcept {
  const __m512i zero = _mm512_setzero_si512();
  __m512i digest = zero;
  for (uint64_t l = 0; l < lines; l++) {
    const __m512i line = _mm512_loadu_si512(from + l * kLineBytes);
    if (_mm512_test_epi64_mask(line, line) == 0) continue;
    digest = _mm512_add_epi64(digest, change(lane_keys(first_line + l), zero, line));
  }
  return sum(digest);
}

}  // namespace

const Kernels kAvx512Kernels = {"avx512", take_pages, encode_page, apply_delta, apply_page, digest_lines};

}  // namespace romulus

#endif
