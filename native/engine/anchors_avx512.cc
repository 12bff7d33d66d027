/** The windows that begin in a line, hashed in one register: each word is mixed once and used in four of them. */
#if defined(__x86_64__)

#include "avx512.h"
#include "bits.h"

namespace romulus::avx512 {

ROMULUS_AVX512 uint64_t changed_lines(const uint8_t* source, const uint8_t* shadow) noexcept {
  uint64_t mask = 0;
#pragma GCC unroll 8
  for (uint64_t l = 0; l < kLinesPerPage; l++) {
    const __mmask8 words = _mm512_cmpneq_epi64_mask(_mm512_loadu_si512(source + l * kLineBytes), _mm512_loadu_si512(shadow + l * kLineBytes));
    mask |= uint64_t{words != 0} << l;
  }
  return mask;
}

ROMULUS_AVX512 void find_anchors(const uint8_t* page, uint64_t line_mask, Anchors& found) noexcept {
  const __m512i key = _mm512_set1_epi64(static_cast<long long>(kWindowKey));
  const __m512i sampled = _mm512_set1_epi64(kAnchorMask);
  const __m512i lanes = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
  found.count = 0;
  for (uint64_t left = line_mask; left != 0; left &= left - 1) {
    const uint64_t l = lowest_bit(left);
    const bool is_last = l == kLinesPerPage - 1;
    const __m512i here = _mm512_loadu_si512(page + l * kLineBytes);
    const __m512i next = is_last ? _mm512_setzero_si512() : _mm512_loadu_si512(page + (l + 1) * kLineBytes);
    const __m512i second = _mm512_alignr_epi64(next, here, 1);
    const __m512i third = _mm512_alignr_epi64(next, here, 2);
    const __m512i fourth = _mm512_alignr_epi64(next, here, 3);
    const __m512i mixed = mix(_mm512_xor_si512(here, key));
    const __m512i after = mix(_mm512_xor_si512(next, key));
    __m512i hash = _mm512_add_epi64(mixed, _mm512_rol_epi64(_mm512_alignr_epi64(after, mixed, 1), kWindowTurns[1]));
    hash = _mm512_add_epi64(hash, _mm512_rol_epi64(_mm512_alignr_epi64(after, mixed, 2), kWindowTurns[2]));
    hash = _mm512_add_epi64(hash, _mm512_rol_epi64(_mm512_alignr_epi64(after, mixed, 3), kWindowTurns[3]));
    hash = _mm512_xor_si512(hash, _mm512_srli_epi64(hash, 32));
    uint32_t anchors = _mm512_testn_epi64_mask(hash, sampled);
    if (is_last) anchors &= (1u << (kWordsPerLine - kWindowWords + 1)) - 1;
    if (anchors == 0) continue;
    const __mmask8 same = _mm512_cmpeq_epi64_mask(here, second) & _mm512_cmpeq_epi64_mask(here, third) & _mm512_cmpeq_epi64_mask(here, fourth);
    anchors &= ~static_cast<uint32_t>(same);
    const auto kept = static_cast<__mmask8>(anchors);
    const __m512i words = _mm512_add_epi64(lanes, _mm512_set1_epi64(static_cast<long long>(l * kWordsPerLine)));
    _mm512_storeu_si512(found.hashes + found.count, _mm512_maskz_compress_epi64(kept, hash));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(found.words + found.count), _mm512_cvtepi64_epi32(_mm512_maskz_compress_epi64(kept, words)));
    found.count += static_cast<size_t>(_mm_popcnt_u32(anchors));
  }
}

}  // namespace romulus::avx512

#endif
