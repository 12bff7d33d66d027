/** Kernels for AVX-512: a line is one register, its changed words one mask. */
#if defined(__x86_64__)

#include <cstring>

#include "avx512.h"
#include "bits.h"
#include "digest.h"
#include "kernels.h"

namespace romulus {
namespace {

using avx512::mix;
using avx512::sum;

/** One load that the compiler cannot repeat: what is compared is what is encoded. */
ROMULUS_AVX512 inline __m512i load_once(const uint8_t* from) noexcept {
  __m512i line = _mm512_loadu_si512(from);
  asm("" : "+v"(line));
  return line;
}

ROMULUS_AVX512 inline __m512i lane_keys(uint64_t line) noexcept {
  return _mm512_xor_si512(_mm512_set1_epi64(static_cast<long long>(line_key(line))), _mm512_loadu_si512(kLaneKeys));
}

ROMULUS_AVX512 inline __m512i change(__m512i keys, __m512i before, __m512i after) noexcept {
  return _mm512_sub_epi64(mix(_mm512_xor_si512(after, keys)), mix(_mm512_xor_si512(before, keys)));
}

/** Most pages show a word in their first lines: worth the branch. */
ROMULUS_AVX512 inline bool is_zero_page(const uint8_t* page) noexcept {
  for (uint64_t l = 0; l < kLinesPerPage; l += 2) {
    const __m512i any = _mm512_or_si512(_mm512_loadu_si512(page + l * kLineBytes), _mm512_loadu_si512(page + (l + 1) * kLineBytes));
    if (_mm512_test_epi64_mask(any, any) != 0) return false;
  }
  return true;
}

/** Lines pulled in at once between the steps of a page: what is left after it goes there evenly, if few lines changed. */
constexpr uint64_t kSomeAhead = 10;

/** First look: which lines differ, without branches. */
ROMULUS_AVX512 inline uint64_t changed_lines(const PageEncode& in, Ahead& ahead) noexcept {
  alignas(64) uint8_t masks[kLinesPerPage];
#pragma GCC unroll 16
  for (uint64_t l = 0; l < kLinesPerPage; l++) {
    ahead.next();
    masks[l] = _mm512_cmpneq_epi64_mask(_mm512_loadu_si512(in.source + l * kLineBytes),
                                        _mm512_loadu_si512(in.shadow + l * kLineBytes));
  }
  const __m512i all = _mm512_load_si512(masks);
  return _mm512_test_epi8_mask(all, all);
}

/** Bytes 8j to 8j+7 are named by bit j of `mask`. */
ROMULUS_AVX512 inline uint64_t bytes_of_words(uint32_t mask) noexcept {
  const uint64_t lowest = _pdep_u64(mask, 0x0101010101010101u);
  return (lowest << 8) - lowest;
}

/**
 * The word before a line in all lanes; before a page that is zero. Eight bytes and not the line before: that was stored a moment
 * ago, and a load as wide has to wait until it has left the store queue.
 */
ROMULUS_AVX512 inline __m512i word_before(uint64_t number, const uint8_t* at) noexcept {
  static constexpr uint64_t kNoWord = 0;
  const auto* from = number == 0 ? reinterpret_cast<const uint8_t*>(&kNoWord) : at - kWordBytes;
  return _mm512_set1_epi64(static_cast<long long>(load_le<uint64_t>(from)));
}

/** The line's words moved up by one, behind the word before the line. */
ROMULUS_AVX512 inline __m512i words_before(__m512i line, uint64_t number, const uint8_t* at) noexcept {
  return _mm512_alignr_epi64(line, word_before(number, at), 7);
}

/** What both grains go over the changed lines with. */
struct Lines {
  uint64_t changed = 0;
  uint64_t count = 0;
  uint64_t words = 0;
  __m512i digest;
};

ROMULUS_AVX512 inline void finish(PageDelta& found, const PageEncode& in, const Lines& lines) noexcept {
  found.line_mask = lines.changed;
  found.words = static_cast<uint32_t>(lines.words);
  found.digest_change = sum(lines.digest);
  found.zero = lines.changed != 0 && is_zero_page(in.shadow);
}

/** Kinds from their low and their high bits, one bit a line. */
ROMULUS_AVX512 inline void set_kinds(PageDelta& found, uint64_t low, uint64_t high) noexcept {
  for (int half = 0; half < 2; half++) {
    found.kinds[half] = _pdep_u64(low >> (32 * half), 0x5555555555555555u) | _pdep_u64(high >> (32 * half), 0xaaaaaaaaaaaaaaaau);
  }
}

/** A line that repeats a word is of kind 1, any other of kind 0: that is the cheapest of the two. */
ROMULUS_AVX512 PageDelta encode_words(const PageEncode& in) noexcept {
  uint8_t* masks = in.masks;
  uint8_t* data = in.data;
  uint64_t repeating = 0;
  Lines lines;
  lines.digest = _mm512_setzero_si512();
  const uint64_t first_line = in.page * kLinesPerPage;
  Ahead ahead(in);
  for (uint64_t left = in.expects_dense ? ~uint64_t{0} : changed_lines(in, ahead); left != 0; left &= left - 1) {
    const uint64_t l = lowest_bit(left);
    ahead.next();
    uint8_t* const shadow = in.shadow + l * kLineBytes;
    const __m512i after = load_once(in.source + l * kLineBytes);
    const __m512i before = _mm512_loadu_si512(shadow);
    const uint32_t words = _mm512_cmpneq_epi64_mask(after, before);
    if (words == 0) continue;  // the guest wrote the old value back in between
    const uint32_t repeats = _mm512_mask_cmpeq_epi64_mask(static_cast<__mmask8>(words), after, words_before(after, l, shadow));
    const uint32_t kept = words ^ repeats;
    _mm512_storeu_si512(shadow, after);
    _mm512_storeu_si512(data, _mm512_maskz_compress_epi64(static_cast<__mmask8>(kept), after));
    data += static_cast<uint64_t>(_mm_popcnt_u32(kept)) * kWordBytes;
    store_le(masks, static_cast<uint16_t>(words | repeats << 8));
    const uint64_t repeats_some = repeats != 0;
    masks += 1 + repeats_some;
    repeating |= repeats_some << lines.count++;
    lines.words += static_cast<uint64_t>(_mm_popcnt_u32(words));
    lines.changed |= left & -left;
    lines.digest = _mm512_add_epi64(lines.digest, change(lane_keys(first_line + l), before, after));
  }
  ahead.some(kSomeAhead);
  PageDelta found;
  set_kinds(found, repeating, 0);
  found.mask_bytes = static_cast<uint32_t>(masks - in.masks);
  found.data_bytes = static_cast<uint32_t>(data - in.data);
  finish(found, in, lines);
  ahead.end();
  return found;
}

/** Of each changed line, in order, what its kind follows from. */
struct alignas(64) LineMasks {
  uint8_t words[kLinesPerPage] = {};
  uint8_t repeats[kLinesPerPage] = {};
  /** Words that go into the data stream, once the kind is known. */
  uint8_t kept[kLinesPerPage];
  uint8_t kinds[kLinesPerPage];
  /** Bytes that changed, and bytes that are not zero. */
  uint64_t bytes[2][kLinesPerPage];
};

/** bytes_of_words() of eight lines at once. */
ROMULUS_AVX512 inline __m512i bytes_of_eight(const uint8_t* words) noexcept {
  const __m512i each = _mm512_cvtepu8_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(words)));
  const __m512i spread = _mm512_shuffle_epi8(each, _mm512_set4_epi32(0x08080808, 0x08080808, 0, 0));
  const __mmask64 set = _mm512_test_epi8_mask(spread, _mm512_set1_epi64(static_cast<long long>(0x8040201008040201u)));
  return _mm512_movm_epi8(set);
}

/** cheapest_of_all() of all lines at once, a byte each; also leaves only kept words' bytes among those not zero. */
ROMULUS_AVX512 inline void choose_kinds(LineMasks& of, uint64_t lines, PageDelta& found) noexcept {
  const __m512i words = _mm512_load_si512(of.words);
  const __m512i repeats = _mm512_load_si512(of.repeats);
  const __m512i unrepeated = _mm512_xor_si512(words, repeats);
  _mm512_store_si512(of.kept, unrepeated);
  alignas(64) uint8_t changed_bytes[kLinesPerPage] = {};
  alignas(64) uint8_t nonzero_bytes[kLinesPerPage] = {};
  for (uint64_t i = 0; i < lines; i += 8) {
    const __m512i changed = _mm512_load_si512(of.bytes[0] + i);
    const __m512i nonzero = _mm512_and_si512(_mm512_load_si512(of.bytes[1] + i), bytes_of_eight(of.kept + i));
    _mm512_store_si512(of.bytes[1] + i, nonzero);
    _mm_storel_epi64(reinterpret_cast<__m128i*>(changed_bytes + i), _mm512_cvtepi64_epi8(_mm512_popcnt_epi64(changed)));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(nonzero_bytes + i), _mm512_cvtepi64_epi8(_mm512_popcnt_epi64(nonzero)));
  }
  const __m512i one = _mm512_set1_epi8(1);
  const __m512i count = _mm512_popcnt_epi8(words);
  const __m512i kept = _mm512_popcnt_epi8(unrepeated);
  // A count is below 16, so eight times it stays within its byte.
  const __m512i costs[4] = {_mm512_slli_epi64(count, 3), _mm512_add_epi8(_mm512_slli_epi64(kept, 3), one),
                            _mm512_add_epi8(count, _mm512_load_si512(changed_bytes)),
                            _mm512_add_epi8(_mm512_add_epi8(kept, one), _mm512_load_si512(nonzero_bytes))};
  const __m512i least =
      _mm512_min_epu8(_mm512_min_epu8(costs[0], costs[1]), _mm512_min_epu8(costs[2], costs[3]));
  const __mmask64 is[3] = {_mm512_cmpeq_epi8_mask(costs[0], least), _mm512_cmpeq_epi8_mask(costs[1], least),
                           _mm512_cmpeq_epi8_mask(costs[2], least)};
  const __mmask64 high = ~(is[0] | is[1]);
  const __mmask64 low = ~is[0] & (is[1] | ~is[2]);
  const uint64_t used = lines == 64 ? ~uint64_t{0} : (uint64_t{1} << lines) - 1;
  set_kinds(found, low & used, high & used);
  _mm512_store_si512(of.kinds, _mm512_mask_add_epi8(_mm512_maskz_mov_epi8(low, one), high, _mm512_maskz_mov_epi8(low, one),
                                                    _mm512_set1_epi8(2)));
  // All changed words are kept where repeats are not named.
  _mm512_store_si512(of.kept, _mm512_mask_mov_epi8(words, low, unrepeated));
}

ROMULUS_AVX512 PageDelta encode_bytes(const PageEncode& in) noexcept {
  LineMasks of;
  Lines lines;
  lines.digest = _mm512_setzero_si512();
  const uint64_t first_line = in.page * kLinesPerPage;
  Ahead ahead(in);
  for (uint64_t left = changed_lines(in, ahead); left != 0; left &= left - 1) {
    const uint64_t l = lowest_bit(left);
    ahead.next();
    uint8_t* const shadow = in.shadow + l * kLineBytes;
    const __m512i after = load_once(in.source + l * kLineBytes);
    const __m512i before = _mm512_loadu_si512(shadow);
    const __mmask8 words = _mm512_cmpneq_epi64_mask(after, before);
    if (words == 0) continue;  // the guest wrote the old value back in between
    const uint64_t i = lines.count++;
    of.words[i] = words;
    of.repeats[i] = _mm512_mask_cmpeq_epi64_mask(words, after, words_before(after, l, shadow));
    of.bytes[0][i] = _mm512_cmpneq_epi8_mask(after, before);
    of.bytes[1][i] = _mm512_test_epi8_mask(after, after);
    _mm512_storeu_si512(shadow, after);
    lines.words += static_cast<uint64_t>(_mm_popcnt_u32(words));
    lines.changed |= left & -left;
    lines.digest = _mm512_add_epi64(lines.digest, change(lane_keys(first_line + l), before, after));
  }
  ahead.some(kSomeAhead);
  PageDelta found;
  finish(found, in, lines);
  if (lines.count == 0) {
    ahead.end();
    return found;
  }
  choose_kinds(of, lines.count, found);
  ahead.some(kSomeAhead);
  uint8_t* masks = in.masks;
  uint8_t* data = in.data;
  uint64_t i = 0;
  for (uint64_t left = lines.changed; left != 0; left &= left - 1, i++) {
    const __m512i line = _mm512_loadu_si512(in.shadow + lowest_bit(left) * kLineBytes);  // as it was compared
    ahead.next();
    const uint64_t kind = of.kinds[i];
    const uint64_t all = bytes_of_words(of.kept[i]);
    const uint64_t whole_words = (kind >> 1) - 1;  // all ones for kinds 0 and 1
    const uint64_t sent = all & (of.bytes[kind & 1][i] | whole_words);
    _mm512_storeu_si512(data, _mm512_maskz_compress_epi8(sent, line));
    data += _mm_popcnt_u64(sent);
    masks[0] = of.words[i];
    masks[1] = of.repeats[i];
    masks += 1 + (kind & 1);
    store_le(masks, _pext_u64(sent, all));
    masks += _mm_popcnt_u32(of.kept[i]) & (0 - (kind >> 1));
  }
  ahead.end();
  found.mask_bytes = static_cast<uint32_t>(masks - in.masks);
  found.data_bytes = static_cast<uint32_t>(data - in.data);
  return found;
}

ROMULUS_AVX512 PageDelta encode_page(const PageEncode& in) noexcept {
  return in.grain == Grain::words ? encode_words(in) : encode_bytes(in);
}

/** For each mask of repeats the lane that each lane takes its word from; 15 is the word before the line. */
struct RepeatLanes {
  uint64_t of[256];
};

constexpr RepeatLanes repeat_lanes() noexcept {
  RepeatLanes lanes{};
  for (uint32_t mask = 0; mask < 256; mask++) {
    uint64_t source = 15;
    for (uint32_t lane = 0; lane < 8; lane++) {
      if ((mask >> lane & 1) == 0) source = lane;
      lanes.of[mask] |= source << (8 * lane);
    }
  }
  return lanes;
}

constexpr RepeatLanes kRepeatLanes = repeat_lanes();

ROMULUS_AVX512 inline __m512i spread_repeats(__m512i line, uint32_t repeats, uint64_t number, const uint8_t* at) noexcept {
  const __m512i lanes = _mm512_cvtepu8_epi64(_mm_cvtsi64_si128(static_cast<long long>(kRepeatLanes.of[repeats])));
  return _mm512_permutex2var_epi64(line, lanes, word_before(number, at));
}

ROMULUS_AVX512 uint64_t apply_delta(uint8_t* page, uint64_t page_number, const DeltaView& delta) noexcept {
  __m512i digest = _mm512_setzero_si512();
  const uint8_t* masks = delta.masks;
  const uint8_t* data = delta.data;
  uint32_t lines = 0;
  for (uint64_t left = delta.line_mask; left != 0; left &= left - 1) {
    const uint64_t l = lowest_bit(left);
    const auto [kind, words, repeats] = read_line_head(delta.kinds, lines++, masks);
    const uint32_t kept = words & ~repeats;
    uint64_t sent = bytes_of_words(kept);
    if ((kind & 2) != 0) {
      sent = _pdep_u64(load_up_to_8(masks, delta.end), sent);
      masks += _mm_popcnt_u32(kept);
    }
    const auto bytes = static_cast<uint64_t>(_mm_popcnt_u64(sent));
    const __m512i packed = delta.end - data >= 64 ? _mm512_loadu_si512(data)
                                                  : _mm512_maskz_loadu_epi8(_bzhi_u64(~uint64_t{0}, static_cast<uint32_t>(bytes)), data);
    data += bytes;
    uint8_t* line = page + l * kLineBytes;
    const __m512i before = _mm512_loadu_si512(line);
    const uint32_t cleared = kind == static_cast<uint32_t>(LineKind::nonzero) ? kept : 0;
    const __m512i base = _mm512_maskz_mov_epi64(static_cast<__mmask8>(~cleared), before);
    __m512i after = _mm512_mask_expand_epi8(base, sent, packed);
    if (repeats != 0) after = spread_repeats(after, repeats, l, line);
    _mm512_storeu_si512(line, after);
    digest = _mm512_add_epi64(digest, change(lane_keys(page_number * kLinesPerPage + l), before, after));
  }
  return sum(digest);
}

ROMULUS_AVX512 uint64_t apply_page(uint8_t* page, uint64_t page_number, const uint8_t* data) noexcept {
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

ROMULUS_AVX512 uint64_t digest_lines(const uint8_t* from, uint64_t first_line, uint64_t lines) noexcept {
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

const Kernels kAvx512Kernels = {
    "avx512",    avx512::find_words, avx512::take_pages, encode_page, avx512::changed_lines, avx512::find_anchors,
    apply_delta, apply_page,         digest_lines};

}  // namespace romulus

#endif
