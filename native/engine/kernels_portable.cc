/** Kernels in plain C++, for any processor; the other levels must agree with these bit for bit. */
#include <cstring>

#include "bits.h"
#include "digest.h"
#include "kernels.h"
#include "list_bits.h"

namespace romulus {
namespace {

/** One load each of a line's words, so that what is compared is what is encoded even if the guest writes meanwhile. */
inline void load_line_once(const uint8_t* line, uint64_t (&words)[kWordsPerLine]) noexcept {
  const auto* from = reinterpret_cast<const uint64_t*>(line);
  for (uint64_t j = 0; j < kWordsPerLine; j++) words[j] = __atomic_load_n(from + j, __ATOMIC_RELAXED);
}

inline bool line_differs(const uint8_t* source, const uint8_t* shadow) noexcept {
  uint64_t now[kWordsPerLine];
  load_line_once(source, now);
  uint64_t difference = 0;
  for (uint64_t j = 0; j < kWordsPerLine; j++) difference |= now[j] ^ load_le<uint64_t>(shadow + j * kWordBytes);
  return difference != 0;
}

inline bool is_zero(const uint8_t* from, uint64_t bytes) noexcept {
  uint64_t any = 0;
  for (uint64_t at = 0; at < bytes; at += kWordBytes) any |= load_le<uint64_t>(from + at);
  return any == 0;
}

DirtyWords find_words(const uint64_t* words, size_t count, uint32_t first_word, uint32_t* out) noexcept {
  DirtyWords found;
  for (size_t w = 0; w < count; w += 8) {
    const bool is_whole = w + 8 <= count;
    if (is_whole && is_zero(reinterpret_cast<const uint8_t*>(words + w), 64)) continue;
    list_words(words, w, is_whole ? w + 8 : count, first_word, out, found, popcount64);
  }
  return found;
}

size_t take_pages(uint64_t* bitmap, const uint32_t* found, size_t count, uint32_t* out) noexcept {
  return take_listed(bitmap, found, count, out);
}

/** Packs the bytes of `word` named by `mask` at `to`; returns how many. */
uint64_t gather_bytes(uint64_t word, uint32_t mask, uint8_t* to) noexcept {
  uint8_t* const start = to;
  for (uint32_t j = 0; j < kWordBytes; j++) {
    *to = static_cast<uint8_t>(word >> (8 * j));
    to += mask >> j & 1;
  }
  return static_cast<uint64_t>(to - start);
}

/** The reverse: `base` with the named bytes replaced by those at `from`, which is moved on. */
uint64_t scatter_bytes(uint64_t base, uint32_t mask, const uint8_t*& from) noexcept {
  for (; mask != 0; mask &= mask - 1) {
    const uint32_t at = 8 * lowest_bit(mask);
    base = (base & ~(uint64_t{0xff} << at)) | uint64_t{*from++} << at;
  }
  return base;
}

/** Bit j set: byte j is not zero. */
uint32_t nonzero_bytes(uint64_t word) noexcept {
  uint32_t mask = 0;
  for (uint32_t j = 0; j < kWordBytes; j++) mask |= uint32_t{(word >> (8 * j) & 0xff) != 0} << j;
  return mask;
}

/** What became of one line: masks over its words and, for each word, over its bytes. */
struct LineChange {
  uint32_t words = 0;
  uint32_t repeats = 0;
  uint8_t changed[kWordsPerLine];
  uint8_t nonzero[kWordsPerLine];
  LineCounts counts = {};
};

LineChange compare_line(const uint64_t (&now)[kWordsPerLine], const uint64_t (&before)[kWordsPerLine], uint64_t previous) noexcept {
  LineChange found;
  for (uint32_t j = 0; j < kWordsPerLine; j++) {
    const bool repeats = now[j] == previous;
    previous = now[j];
    if (now[j] == before[j]) continue;
    found.words |= 1u << j;
    found.repeats |= uint32_t{repeats} << j;
    found.changed[j] = static_cast<uint8_t>(nonzero_bytes(now[j] ^ before[j]));
    found.nonzero[j] = static_cast<uint8_t>(nonzero_bytes(now[j]));
    found.counts.words++;
    found.counts.repeats += repeats;
    found.counts.changed_bytes += popcount64(found.changed[j]);
    if (!repeats) found.counts.nonzero_bytes += popcount64(found.nonzero[j]);
  }
  return found;
}

PageDelta encode_page(const PageEncode& in) noexcept {
  uint64_t candidates = 0;
  Ahead ahead(in);
  for (uint64_t l = 0; l < kLinesPerPage; l++) {
    ahead.next();
    candidates |= uint64_t{line_differs(in.source + l * kLineBytes, in.shadow + l * kLineBytes)} << l;
  }
  PageDelta found;
  uint8_t* masks = in.masks;
  uint8_t* data = in.data;
  KindList kinds(found);
  for (uint64_t left = candidates; left != 0; left &= left - 1) {
    const uint64_t l = lowest_bit(left);
    uint8_t* shadow = in.shadow + l * kLineBytes;
    uint64_t now[kWordsPerLine];
    uint64_t before[kWordsPerLine];
    load_line_once(in.source + l * kLineBytes, now);
    std::memcpy(before, shadow, kLineBytes);
    const LineChange line = compare_line(now, before, l == 0 ? 0 : load_le<uint64_t>(shadow - kWordBytes));
    if (line.words == 0) continue;  // the guest wrote the old value back in between
    std::memcpy(shadow, now, kLineBytes);
    const uint32_t kind = in.grain == Grain::words ? cheapest_of_words(line.counts.words, line.counts.repeats)
                                                   : cheapest_of_all(line.counts);
    *masks++ = static_cast<uint8_t>(line.words);
    if ((kind & 1) != 0) *masks++ = static_cast<uint8_t>(line.repeats);
    const uint64_t key = line_key(in.page * kLinesPerPage + l);
    for (uint32_t left_words = line.words; left_words != 0; left_words &= left_words - 1) {
      const uint32_t j = lowest_bit(left_words);
      found.digest_change += digest_change(key, j, before[j], now[j]);
      if ((kind & 1) != 0 && (line.repeats >> j & 1) != 0) continue;
      if ((kind & 2) == 0) {
        store_le(data, now[j]);
        data += kWordBytes;
        continue;
      }
      *masks = (kind & 1) != 0 ? line.nonzero[j] : line.changed[j];
      data += gather_bytes(now[j], *masks++, data);
    }
    kinds.add(kind);
    found.words += line.counts.words;
    found.line_mask |= uint64_t{1} << l;
  }
  kinds.end();
  found.mask_bytes = static_cast<uint32_t>(masks - in.masks);
  found.data_bytes = static_cast<uint32_t>(data - in.data);
  found.zero = found.words != 0 && is_zero(in.shadow, kPageBytes);
  return found;
}

uint64_t changed_lines(const uint8_t* source, const uint8_t* shadow) noexcept {
  uint64_t mask = 0;
  for (uint64_t l = 0; l < kLinesPerPage; l++) {
    mask |= uint64_t{line_differs(source + l * kLineBytes, shadow + l * kLineBytes)} << l;
  }
  return mask;
}

void find_anchors(const uint8_t* page, uint64_t line_mask, Anchors& found) noexcept {
  constexpr uint64_t kMost = kWordsPerLine + kWindowWords - 1;
  found.count = 0;
  for (uint64_t left = line_mask; left != 0; left &= left - 1) {
    const uint64_t first = lowest_bit(left) * kWordsPerLine;
    const uint64_t words = kWordsPerPage - first < kMost ? kWordsPerPage - first : kMost;
    uint64_t word[kMost];
    uint64_t mixed[kMost];
    std::memcpy(word, page + first * kWordBytes, words * kWordBytes);
    for (uint64_t i = 0; i < words; i++) mixed[i] = digest_mix(word[i] ^ kWindowKey);
    for (uint64_t i = 0; i + kWindowWords <= words; i++) {
      const uint64_t hash = window_hash(mixed + i);
      if ((hash & kAnchorMask) != 0) continue;
      if (word[i] == word[i + 1] && word[i] == word[i + 2] && word[i] == word[i + 3]) continue;
      found.words[found.count] = static_cast<uint32_t>(first + i);
      found.hashes[found.count++] = hash;
    }
  }
}

uint64_t apply_delta(uint8_t* page, uint64_t page_number, const DeltaView& delta) noexcept {
  uint64_t change = 0;
  const uint8_t* masks = delta.masks;
  const uint8_t* data = delta.data;
  uint32_t lines = 0;
  for (uint64_t left = delta.line_mask; left != 0; left &= left - 1) {
    const uint64_t l = lowest_bit(left);
    const uint64_t key = line_key(page_number * kLinesPerPage + l);
    const auto [kind, words, repeats] = read_line_head(delta.kinds, lines++, masks);
    for (uint32_t rest = words; rest != 0; rest &= rest - 1) {
      const uint32_t j = lowest_bit(rest);
      uint8_t* word = page + l * kLineBytes + j * kWordBytes;
      const uint64_t before = load_le<uint64_t>(word);
      uint64_t after;
      if ((repeats >> j & 1) != 0) {
        after = l == 0 && j == 0 ? 0 : load_le<uint64_t>(word - kWordBytes);
      } else if ((kind & 2) == 0) {
        after = load_le<uint64_t>(data);
        data += kWordBytes;
      } else {
        after = scatter_bytes((kind & 1) != 0 ? 0 : before, *masks++, data);
      }
      change += digest_change(key, j, before, after);
      store_le(word, after);
    }
  }
  return change;
}

uint64_t apply_page(uint8_t* page, uint64_t page_number, const uint8_t* data) noexcept {
  uint64_t change = 0;
  for (uint64_t l = 0; l < kLinesPerPage; l++) {
    const uint64_t key = line_key(page_number * kLinesPerPage + l);
    for (uint64_t j = 0; j < kWordsPerLine; j++) {
      const uint64_t at = l * kLineBytes + j * kWordBytes;
      const uint64_t before = load_le<uint64_t>(page + at);
      const uint64_t after = data == nullptr ? 0 : load_le<uint64_t>(data + at);
      if (before == after) continue;
      change += digest_change(key, j, before, after);
      store_le(page + at, after);
    }
  }
  return change;
}

uint64_t digest_lines(const uint8_t* from, uint64_t first_line, uint64_t lines) noexcept {
  uint64_t digest = 0;
  for (uint64_t l = 0; l < lines; l++) {
    const uint8_t* line = from + l * kLineBytes;
    if (is_zero(line, kLineBytes)) continue;
    const uint64_t key = line_key(first_line + l);
    for (uint64_t j = 0; j < kWordsPerLine; j++) {
      digest += digest_change(key, j, 0, load_le<uint64_t>(line + j * kWordBytes));
    }
  }
  return digest;
}

}  // namespace

const Kernels kPortableKernels = {"portable", find_words, take_pages, encode_page, changed_lines, find_anchors, apply_delta, apply_page, digest_lines};

}  // namespace romulus
