/** Written with the widest registers the machine has, so that memory is the limit and not the loop. */
#include "limits.h"

#include <cstring>

#include "../engine/bits.h"
#include "../engine/cpu.h"
#include "../engine/page.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace romulus::bench {
namespace {

template <typename F>
inline void for_pages(const PagePair& pair, F&& body) noexcept {
  const uint64_t count = pair.pages.size();
  for (uint64_t i = 0; i < count; i++) {
    const uint64_t ahead = (i + 2 < count ? pair.pages[i + 2] : pair.pages[i]) * kPageBytes;
    body(pair.pages[i] * kPageBytes, ahead);
  }
}

#if defined(__x86_64__)

__attribute__((target("avx512f"))) uint64_t read_range_avx512(const uint8_t* from, uint64_t bytes) noexcept {
  __m512i sums[4] = {};
  uint64_t at = 0;
  for (; at + 256 <= bytes; at += 256) {
    for (uint64_t i = 0; i < 4; i++) sums[i] = _mm512_or_si512(sums[i], _mm512_loadu_si512(from + at + 64 * i));
  }
  for (; at < bytes; at += 64) sums[0] = _mm512_or_si512(sums[0], _mm512_loadu_si512(from + at));
  const __m512i all = _mm512_or_si512(_mm512_or_si512(sums[0], sums[1]), _mm512_or_si512(sums[2], sums[3]));
  return _mm512_test_epi64_mask(all, all);
}

__attribute__((target("avx512f"))) uint64_t read_avx512(const PagePair& pair) noexcept {
  __m512i sum = _mm512_setzero_si512();
  for (uint64_t i = 0; i < pair.pages.size(); i++) {
    const uint64_t at = pair.pages[i] * kPageBytes;
    const uint64_t ahead = (i + 2 < pair.pages.size() ? pair.pages[i + 2] : pair.pages[i]) * kPageBytes;
    for (uint64_t b = 0; b < kPageBytes; b += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(pair.now + ahead + b), _MM_HINT_T1);
      _mm_prefetch(reinterpret_cast<const char*>(pair.before + ahead + b), _MM_HINT_T1);
      sum = _mm512_or_si512(sum, _mm512_or_si512(_mm512_loadu_si512(pair.now + at + b),
                                                 _mm512_loadu_si512(pair.before + at + b)));
    }
  }
  return _mm512_test_epi64_mask(sum, sum);
}

__attribute__((target("avx512f"))) uint64_t compare_avx512(const PagePair& pair) noexcept {
  uint64_t differing = 0;
  for (uint64_t i = 0; i < pair.pages.size(); i++) {
    const uint64_t at = pair.pages[i] * kPageBytes;
    const uint64_t ahead = (i + 2 < pair.pages.size() ? pair.pages[i + 2] : pair.pages[i]) * kPageBytes;
    __m512i difference = _mm512_setzero_si512();
    for (uint64_t b = 0; b < kPageBytes; b += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(pair.now + ahead + b), _MM_HINT_T1);
      _mm_prefetch(reinterpret_cast<const char*>(pair.before + ahead + b), _MM_HINT_T1);
      difference = _mm512_or_si512(difference, _mm512_xor_si512(_mm512_loadu_si512(pair.now + at + b),
                                                                _mm512_loadu_si512(pair.before + at + b)));
    }
    differing += _mm512_test_epi64_mask(difference, difference) != 0;
  }
  return differing;
}

__attribute__((target("avx512f,avx512bw"))) uint64_t update_avx512(const PagePair& pair, uint8_t* before, uint8_t* out) noexcept {
  uint8_t* const start = out;
  uint64_t differing = 0;
  for (uint64_t i = 0; i < pair.pages.size(); i++) {
    const uint64_t at = pair.pages[i] * kPageBytes;
    const uint64_t ahead = (i + 2 < pair.pages.size() ? pair.pages[i + 2] : pair.pages[i]) * kPageBytes;
    for (uint64_t b = 0; b < kPageBytes; b += 64, out += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(pair.now + ahead + b), _MM_HINT_T1);
      _mm_prefetch(reinterpret_cast<const char*>(before + ahead + b), _MM_HINT_T1);
      const __m512i now = _mm512_loadu_si512(pair.now + at + b);
      differing += _mm512_cmpneq_epi64_mask(now, _mm512_loadu_si512(before + at + b));
      _mm512_storeu_si512(before + at + b, now);
      _mm512_storeu_si512(out, now);
    }
  }
  return static_cast<uint64_t>(out - start) + (differing == 1);
}

__attribute__((target("avx512f"))) void list_avx512(uint64_t pages, uint32_t* out) noexcept {
  __m512i numbers = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
  uint64_t i = 0;
  for (; i + 16 <= pages; i += 16, numbers = _mm512_add_epi32(numbers, _mm512_set1_epi32(16))) _mm512_storeu_si512(out + i, numbers);
  for (; i < pages; i++) out[i] = static_cast<uint32_t>(i);
}

__attribute__((target("avx512f,avx512bw"))) uint64_t follow_avx512(const PagePair& pair, uint8_t* before) noexcept {
  uint64_t changed = 0;
  for (uint64_t i = 0; i < pair.pages.size(); i++) {
    const uint64_t at = pair.pages[i] * kPageBytes;
    const uint64_t ahead = (i + 2 < pair.pages.size() ? pair.pages[i + 2] : pair.pages[i]) * kPageBytes;
    alignas(64) uint8_t masks[kLinesPerPage];
#pragma GCC unroll 16
    for (uint64_t l = 0; l < kLinesPerPage; l++) {
      _mm_prefetch(reinterpret_cast<const char*>(pair.now + ahead + l * kLineBytes), _MM_HINT_T1);
      _mm_prefetch(reinterpret_cast<const char*>(before + ahead + l * kLineBytes), _MM_HINT_T1);
      masks[l] = _mm512_cmpneq_epi64_mask(_mm512_loadu_si512(pair.now + at + l * kLineBytes),
                                          _mm512_loadu_si512(before + at + l * kLineBytes));
    }
    const __m512i all = _mm512_load_si512(masks);
    for (uint64_t left = _mm512_test_epi8_mask(all, all); left != 0; left &= left - 1, changed++) {
      const uint64_t line = at + lowest_bit(left) * kLineBytes;
      _mm512_storeu_si512(before + line, _mm512_loadu_si512(pair.now + line));
    }
  }
  return changed;
}

#endif

}  // namespace

uint64_t compare_and_update(const PagePair& pair, uint8_t* before) noexcept {
#if defined(__x86_64__)
  if (cpu_features().avx512) return follow_avx512(pair, before);
#endif
  uint64_t changed = 0;
  for_pages(pair, [&](uint64_t at, uint64_t ahead) {
    for (uint64_t b = 0; b < kPageBytes; b += kLineBytes) {
      __builtin_prefetch(pair.now + ahead + b, 0, 2);
      __builtin_prefetch(before + ahead + b, 0, 2);
      if (std::memcmp(pair.now + at + b, before + at + b, kLineBytes) == 0) continue;
      std::memcpy(before + at + b, pair.now + at + b, kLineBytes);
      changed++;
    }
  });
  return changed;
}

uint64_t read_and_list(const uint8_t* from, uint64_t bytes, uint64_t pages, uint32_t* out) noexcept {
  const uint64_t any = read_range(from, bytes);
#if defined(__x86_64__)
  if (cpu_features().avx512) {
    list_avx512(pages, out);
    return any;
  }
#endif
  for (uint64_t i = 0; i < pages; i++) out[i] = static_cast<uint32_t>(i);
  return any;
}

uint64_t read_range(const uint8_t* from, uint64_t bytes) noexcept {
#if defined(__x86_64__)
  if (cpu_features().avx512) return read_range_avx512(from, bytes);
#endif
  uint64_t sum = 0;
  for (uint64_t at = 0; at < bytes; at += 8) {
    uint64_t word;
    std::memcpy(&word, from + at, 8);
    sum |= word;
  }
  return sum;
}

uint64_t read_both(const PagePair& pair) noexcept {
#if defined(__x86_64__)
  if (cpu_features().avx512) return read_avx512(pair);
#endif
  uint64_t sum = 0;
  for_pages(pair, [&](uint64_t at, uint64_t ahead) {
    for (uint64_t b = 0; b < kPageBytes; b += 64) {
      __builtin_prefetch(pair.now + ahead + b, 0, 2);
      __builtin_prefetch(pair.before + ahead + b, 0, 2);
      sum += pair.now[at + b] + pair.before[at + b];
    }
  });
  return sum;
}

uint64_t compare_both(const PagePair& pair) noexcept {
#if defined(__x86_64__)
  if (cpu_features().avx512) return compare_avx512(pair);
#endif
  uint64_t differing = 0;
  for_pages(pair, [&](uint64_t at, uint64_t) {
    differing += std::memcmp(pair.now + at, pair.before + at, kPageBytes) != 0;
  });
  return differing;
}

uint64_t update_and_copy_out(const PagePair& pair, uint8_t* before, uint8_t* out) noexcept {
#if defined(__x86_64__)
  if (cpu_features().avx512) return update_avx512(pair, before, out);
#endif
  uint8_t* const start = out;
  for_pages(pair, [&](uint64_t at, uint64_t ahead) {
    for (uint64_t b = 0; b < kPageBytes; b += 64) {
      __builtin_prefetch(pair.now + ahead + b, 0, 2);
      __builtin_prefetch(before + ahead + b, 0, 2);
    }
    if (std::memcmp(pair.now + at, before + at, kPageBytes) != 0) std::memcpy(before + at, pair.now + at, kPageBytes);
    std::memcpy(out, before + at, kPageBytes);
    out += kPageBytes;
  });
  return static_cast<uint64_t>(out - start);
}

uint64_t copy_out(const PagePair& pair, uint8_t* out) noexcept {
  uint8_t* const start = out;
  for_pages(pair, [&](uint64_t at, uint64_t ahead) {
    for (uint64_t b = 0; b < kPageBytes; b += 64) __builtin_prefetch(pair.now + ahead + b, 0, 2);
    std::memcpy(out, pair.now + at, kPageBytes);
    out += kPageBytes;
  });
  return static_cast<uint64_t>(out - start);
}

}  // namespace romulus::bench
