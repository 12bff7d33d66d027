/** Kernels for AVX2 with BMI2: a line is two registers; comparing and hashing are vectors, packing words is scalar. */
#if defined(__x86_64__)

#include <immintrin.h>

#include <cstring>

#include "bits.h"
#include "digest.h"
#include "kernels.h"
#include "list_bits.h"

#define ROMULUS_TARGET __attribute__((target("avx2,bmi,bmi2,popcnt,lzcnt")))

namespace romulus {
namespace {

struct Line {
  __m256i low;
  __m256i high;
};

ROMULUS_TARGET inline Line load_line(const uint8_t* from) noexcept {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)),
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + 32))};
}

/** One load that the compiler cannot repeat: what is compared is what is encoded. */
ROMULUS_TARGET inline Line load_once(const uint8_t* from) noexcept {
  Line line = load_line(from);
  asm("" : "+x"(line.low), "+x"(line.high));
  return line;
}

ROMULUS_TARGET inline void store_line(uint8_t* to, const Line& line) noexcept {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), line.low);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 32), line.high);
}

ROMULUS_TARGET inline bool is_zero(const Line& line) noexcept {
  const __m256i any = _mm256_or_si256(line.low, line.high);
  return _mm256_testz_si256(any, any) != 0;
}

/** Bit j set: word j differs. */
ROMULUS_TARGET inline uint32_t changed_words(const Line& a, const Line& b) noexcept {
  const auto low = static_cast<uint32_t>(_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(a.low, b.low))));
  const auto high = static_cast<uint32_t>(_mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(a.high, b.high))));
  return (low | high << 4) ^ 0xff;
}

ROMULUS_TARGET inline __m256i mix(__m256i x) noexcept {
  const __m256i swapped = _mm256_shuffle_epi32(x, 0xb1);
  return _mm256_add_epi64(_mm256_mul_epu32(x, swapped), swapped);
}

ROMULUS_TARGET inline __m256i half_change(__m256i keys, __m256i before, __m256i after) noexcept {
  return _mm256_sub_epi64(mix(_mm256_xor_si256(after, keys)), mix(_mm256_xor_si256(before, keys)));
}

ROMULUS_TARGET inline __m256i change(uint64_t line, const Line& before, const Line& after) noexcept {
  const __m256i key = _mm256_set1_epi64x(static_cast<long long>(line_key(line)));
  const Line lanes = load_line(reinterpret_cast<const uint8_t*>(kLaneKeys));
  return _mm256_add_epi64(half_change(_mm256_xor_si256(key, lanes.low), before.low, after.low),
                          half_change(_mm256_xor_si256(key, lanes.high), before.high, after.high));
}

ROMULUS_TARGET inline uint64_t sum(__m256i lanes) noexcept {
  alignas(32) uint64_t parts[4];
  _mm256_store_si256(reinterpret_cast<__m256i*>(parts), lanes);
  return parts[0] + parts[1] + parts[2] + parts[3];
}

ROMULUS_TARGET inline uint64_t bits_set(uint64_t word) noexcept { return static_cast<uint64_t>(_mm_popcnt_u64(word)); }

ROMULUS_TARGET DirtyWords find_words(const uint64_t* words, size_t count, uint32_t first_word, uint32_t* out) noexcept {
  DirtyWords found;
  for (size_t w = 0; w < count; w += 16) {
    const bool is_whole = w + 16 <= count;
    if (is_whole) {
      const Line a = load_line(reinterpret_cast<const uint8_t*>(words + w));
      const Line b = load_line(reinterpret_cast<const uint8_t*>(words + w + 8));
      if (is_zero({_mm256_or_si256(a.low, b.low), _mm256_or_si256(a.high, b.high)})) continue;
    }
    list_words(words, w, is_whole ? w + 16 : count, first_word, out, found, bits_set);
  }
  return found;
}

ROMULUS_TARGET size_t take_pages(uint64_t* bitmap, const uint32_t* found, size_t count, uint32_t* out) noexcept {
  return take_listed(bitmap, found, count, out);
}

ROMULUS_TARGET inline bool is_zero_page(const uint8_t* page) noexcept {
  for (uint64_t l = 0; l < kLinesPerPage; l++) {
    if (!is_zero(load_line(page + l * kLineBytes))) return false;
  }
  return true;
}

ROMULUS_TARGET inline uint64_t changed_lines(const PageEncode& in) noexcept {
  uint64_t lines = 0;
  Ahead ahead(in);
  for (uint64_t l = 0; l < kLinesPerPage; l++) {
    ahead.next();
    const Line a = load_line(in.source + l * kLineBytes);
    const Line b = load_line(in.shadow + l * kLineBytes);
    const bool same = is_zero({_mm256_xor_si256(a.low, b.low), _mm256_xor_si256(a.high, b.high)});
    lines |= uint64_t{!same} << l;
  }
  return lines;
}

ROMULUS_TARGET inline uint64_t bytes_of_mask(uint32_t mask) noexcept {
  return _pdep_u64(mask, 0x0101010101010101u) * 0xff;
}

/** Bit b set: byte b differs. */
ROMULUS_TARGET inline uint64_t changed_bytes(const Line& a, const Line& b) noexcept {
  const auto low = static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(a.low, b.low)));
  const auto high = static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(a.high, b.high)));
  return ~(low | uint64_t{high} << 32);
}

/** A line's words behind the word that comes before them. */
struct alignas(64) LineWords {
  uint64_t before;
  uint64_t at[kWordsPerLine];
};

ROMULUS_TARGET inline LineWords words_of(const Line& line, uint64_t before) noexcept {
  LineWords words;
  words.before = before;
  store_line(reinterpret_cast<uint8_t*>(words.at), line);
  return words;
}

/** Of the words in `words`, those equal to the one before them. */
inline uint32_t repeated(const LineWords& line, uint32_t words) noexcept {
  uint32_t repeats = 0;
  uint64_t before = line.before;
  for (uint32_t j = 0; j < kWordsPerLine; j++) {
    repeats |= uint32_t{line.at[j] == before} << j;
    before = line.at[j];
  }
  return repeats & words;
}

ROMULUS_TARGET PageDelta encode_page(const PageEncode& in) noexcept {
  PageDelta found;
  uint8_t* masks = in.masks;
  uint8_t* data = in.data;
  KindList kinds(found);
  __m256i digest = _mm256_setzero_si256();
  for (uint64_t left = changed_lines(in); left != 0; left &= left - 1) {
    const uint64_t l = lowest_bit(left);
    uint8_t* shadow = in.shadow + l * kLineBytes;
    const Line after = load_once(in.source + l * kLineBytes);
    const Line before = load_line(shadow);
    const uint32_t words = changed_words(after, before);
    if (words == 0) continue;  // the guest wrote the old value back in between
    store_line(shadow, after);
    const LineWords now = words_of(after, l == 0 ? 0 : load_le<uint64_t>(shadow - kWordBytes));
    const uint32_t repeats = repeated(now, words);
    const uint64_t changed = changed_bytes(after, before);
    const uint64_t nonzero = changed_bytes(after, {_mm256_setzero_si256(), _mm256_setzero_si256()});
    const auto count = static_cast<uint32_t>(_mm_popcnt_u32(words));
    const auto repeat_count = static_cast<uint32_t>(_mm_popcnt_u32(repeats));
    const uint32_t kind =
        in.grain == Grain::words
            ? cheapest_of_words(count, repeat_count)
            : cheapest_of_all({count, repeat_count, static_cast<uint32_t>(_mm_popcnt_u64(changed)),
                               static_cast<uint32_t>(_mm_popcnt_u64(nonzero & bytes_of_mask(words & ~repeats)))});
    *masks++ = static_cast<uint8_t>(words);
    if ((kind & 1) != 0) *masks++ = static_cast<uint8_t>(repeats);
    const uint32_t kept = (kind & 1) != 0 ? words & ~repeats : words;
    const uint64_t sent = (kind & 1) != 0 ? nonzero : changed;
    for (uint32_t rest = kept; rest != 0; rest &= rest - 1) {
      const uint32_t j = lowest_bit(rest);
      if ((kind & 2) == 0) {
        store_le(data, now.at[j]);
        data += kWordBytes;
        continue;
      }
      const auto bytes = static_cast<uint8_t>(sent >> (8 * j));
      *masks++ = bytes;
      store_le(data, _pext_u64(now.at[j], bytes_of_mask(bytes)));
      data += _mm_popcnt_u32(bytes);
    }
    kinds.add(kind);
    found.words += count;
    found.line_mask |= uint64_t{1} << l;
    digest = _mm256_add_epi64(digest, change(in.page * kLinesPerPage + l, before, after));
  }
  kinds.end();
  found.mask_bytes = static_cast<uint32_t>(masks - in.masks);
  found.data_bytes = static_cast<uint32_t>(data - in.data);
  found.digest_change = sum(digest);
  found.zero = found.words != 0 && is_zero_page(in.shadow);
  return found;
}

ROMULUS_TARGET uint64_t apply_delta(uint8_t* page, uint64_t page_number, const DeltaView& delta) noexcept {
  __m256i digest = _mm256_setzero_si256();
  const uint8_t* masks = delta.masks;
  const uint8_t* data = delta.data;
  uint32_t lines = 0;
  for (uint64_t left = delta.line_mask; left != 0; left &= left - 1) {
    const uint64_t l = lowest_bit(left);
    const auto [kind, words, repeats] = read_line_head(delta.kinds, lines++, masks);
    uint8_t* line = page + l * kLineBytes;
    const Line before = load_line(line);
    for (uint32_t rest = words; rest != 0; rest &= rest - 1) {
      const uint32_t j = lowest_bit(rest);
      uint8_t* word = line + j * kWordBytes;
      if ((repeats >> j & 1) != 0) {
        store_le(word, l == 0 && j == 0 ? uint64_t{0} : load_le<uint64_t>(word - kWordBytes));
      } else if ((kind & 2) == 0) {
        std::memcpy(word, data, kWordBytes);
        data += kWordBytes;
      } else {
        const uint64_t bytes = bytes_of_mask(*masks);
        const uint64_t kept = (kind & 1) != 0 ? 0 : load_le<uint64_t>(word) & ~bytes;
        store_le(word, kept | _pdep_u64(load_up_to_8(data, delta.end), bytes));
        data += _mm_popcnt_u32(*masks++);
      }
    }
    digest = _mm256_add_epi64(digest, change(page_number * kLinesPerPage + l, before, load_line(line)));
  }
  return sum(digest);
}

ROMULUS_TARGET uint64_t apply_page(uint8_t* page, uint64_t page_number, const uint8_t* data) noexcept {
  const __m256i zero = _mm256_setzero_si256();
  __m256i digest = zero;
  for (uint64_t l = 0; l < kLinesPerPage; l++) {
    uint8_t* line = page + l * kLineBytes;
    const Line before = load_line(line);
    const Line after = data == nullptr ? Line{zero, zero} : load_line(data + l * kLineBytes);
    if (changed_words(before, after) == 0) continue;
    store_line(line, after);
    digest = _mm256_add_epi64(digest, change(page_number * kLinesPerPage + l, before, after));
  }
  return sum(digest);
}

ROMULUS_TARGET uint64_t digest_lines(const uint8_t* from, uint64_t first_line, uint64_t lines) noexcept {
  const Line zero = {_mm256_setzero_si256(), _mm256_setzero_si256()};
  __m256i digest = zero.low;
  for (uint64_t l = 0; l < lines; l++) {
    const Line line = load_line(from + l * kLineBytes);
    if (is_zero(line)) continue;
    digest = _mm256_add_epi64(digest, change(first_line + l, zero, line));
  }
  return sum(digest);
}

ROMULUS_TARGET uint64_t lines_that_differ(const uint8_t* source, const uint8_t* shadow) noexcept {
  uint64_t lines = 0;
  for (uint64_t l = 0; l < kLinesPerPage; l++) {
    const Line a = load_line(source + l * kLineBytes);
    const Line b = load_line(shadow + l * kLineBytes);
    lines |= uint64_t{!is_zero({_mm256_xor_si256(a.low, b.low), _mm256_xor_si256(a.high, b.high)})} << l;
  }
  return lines;
}

void find_anchors(const uint8_t* page, uint64_t line_mask, Anchors& found) noexcept {
  kPortableKernels.find_anchors(page, line_mask, found);
}

}  // namespace

const Kernels kAvx2Kernels = {"avx2",            find_words,   take_pages,  encode_page, lines_that_differ,
                              find_anchors,      apply_delta,  apply_page,  digest_lines};

}  // namespace romulus

#endif
