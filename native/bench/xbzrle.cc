/** The scalar form skips equal words; the SIMD form turns the page into a mask of changed bytes and walks its edges. */
#include "xbzrle.h"

#include <cstring>

#include "../engine/bits.h"
#include "../engine/cpu.h"
#include "../engine/page.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace romulus::bench {
namespace {

uint8_t* put_length(uint8_t* out, uint64_t length) noexcept {
  while (length >= 0x80) {
    *out++ = static_cast<uint8_t>(length | 0x80);
    length >>= 7;
  }
  *out++ = static_cast<uint8_t>(length);
  return out;
}

bool take_length(std::span<const uint8_t>& from, uint64_t& length) noexcept {
  length = 0;
  for (unsigned shift = 0; shift < 14 && !from.empty(); shift += 7) {
    const uint8_t byte = from.front();
    from = from.subspan(1);
    length |= uint64_t{byte & 0x7fu} << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

/** First byte at or after `at` that differs (or, with `same`, does not). */
template <bool same>
uint64_t find(const uint8_t* before, const uint8_t* after, uint64_t at) noexcept {
  while (at < kPageBytes && (at % 8 != 0 || kPageBytes - at < 8)) {
    if ((before[at] == after[at]) == same) return at;
    at++;
  }
  while (at < kPageBytes) {
    const uint64_t difference = load_le<uint64_t>(before + at) ^ load_le<uint64_t>(after + at);
    if (same) {
      const uint64_t equal = (difference - 0x0101010101010101u) & ~difference & 0x8080808080808080u;
      if (equal != 0) return at + lowest_bit(equal) / 8;
    } else if (difference != 0) {
      return at + lowest_bit(difference) / 8;
    }
    at += 8;
  }
  return kPageBytes;
}

#if defined(__x86_64__)

__attribute__((target("avx512f,avx512bw,bmi"))) void changed_bytes(const uint8_t* before, const uint8_t* after,
                                                                   uint64_t (&masks)[kLinesPerPage]) noexcept {
  for (uint64_t l = 0; l < kLinesPerPage; l++) {
    masks[l] = _mm512_cmpneq_epi8_mask(_mm512_loadu_si512(before + l * 64), _mm512_loadu_si512(after + l * 64));
  }
}

/** First set bit at or after `at` in the page's mask, inverted with `flip` all ones. */
inline uint64_t find_bit(const uint64_t (&masks)[kLinesPerPage], uint64_t at, uint64_t flip) noexcept {
  uint64_t l = at / 64;
  if (l == kLinesPerPage) return kPageBytes;
  uint64_t bits = (masks[l] ^ flip) & (~uint64_t{0} << at % 64);
  while (bits == 0) {
    if (++l == kLinesPerPage) return kPageBytes;
    bits = masks[l] ^ flip;
  }
  return l * 64 + lowest_bit(bits);
}

uint64_t encode_avx512(const uint8_t* before, const uint8_t* after, uint8_t* out) noexcept {
  uint64_t masks[kLinesPerPage];
  changed_bytes(before, after, masks);
  uint8_t* const start = out;
  for (uint64_t at = 0;;) {
    const uint64_t changed = find_bit(masks, at, 0);
    if (changed == kPageBytes) break;
    const uint64_t end = find_bit(masks, changed, ~uint64_t{0});
    if (static_cast<uint64_t>(out - start) + 4 + end - changed >= kXbzrleMost) return kXbzrleMost;
    out = put_length(put_length(out, changed - at), end - changed);
    std::memcpy(out, after + changed, end - changed);
    out += end - changed;
    at = end;
  }
  return static_cast<uint64_t>(out - start);
}

#endif

}  // namespace

uint64_t xbzrle_encode_scalar(const uint8_t* before, const uint8_t* after, uint8_t* out) noexcept {
  uint8_t* const start = out;
  for (uint64_t at = 0;;) {
    const uint64_t changed = find<false>(before, after, at);
    if (changed == kPageBytes) break;
    const uint64_t end = find<true>(before, after, changed);
    if (static_cast<uint64_t>(out - start) + 4 + end - changed >= kXbzrleMost) return kXbzrleMost;
    out = put_length(put_length(out, changed - at), end - changed);
    std::memcpy(out, after + changed, end - changed);
    out += end - changed;
    at = end;
  }
  return static_cast<uint64_t>(out - start);
}

uint64_t xbzrle_encode_simd(const uint8_t* before, const uint8_t* after, uint8_t* out) noexcept {
#if defined(__x86_64__)
  if (cpu_features().avx512) return encode_avx512(before, after, out);
#endif
  return xbzrle_encode_scalar(before, after, out);
}

bool xbzrle_decode(std::span<const uint8_t> delta, uint8_t* page) noexcept {
  uint64_t at = 0;
  while (!delta.empty()) {
    uint64_t skip = 0;
    uint64_t length = 0;
    if (!take_length(delta, skip) || !take_length(delta, length)) return false;
    if (skip > kPageBytes - at || length == 0 || length > kPageBytes - at - skip || length > delta.size()) return false;
    std::memcpy(page + at + skip, delta.data(), length);
    delta = delta.subspan(length);
    at += skip + length;
  }
  return true;
}

}  // namespace romulus::bench
