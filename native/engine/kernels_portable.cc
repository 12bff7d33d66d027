/** Kernels in plain C++, for any processor; the other levels must agree with these bit for bit. */
#include <cstring>

#include "bits.h"
#include "digest.h"
#include "kernels.h"

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

size_t take_pages(uint64_t* words, size_t count, uint64_t first_page, uint32_t* out) noexcept {
  uint32_t* const start = out;
  for (size_t w = 0; w < count; w++) {
    if (w + 8 <= count && is_zero(reinterpret_cast<const uint8_t*>(words + w), 64)) {
      w += 7;
      continue;
    }
    uint64_t bits = words[w];
    if (bits == 0) continue;
    words[w] = 0;
    const auto base = static_cast<uint32_t>(first_page + w * 64);
    if (bits == ~uint64_t{0}) {  // the inside of a run
      for (uint32_t i = 0; i < 64; i++) out[i] = base + i;
      out += 64;
      continue;
    }
    for (; bits != 0; bits &= bits - 1) *out++ = base + lowest_bit(bits);
  }
  return static_cast<size_t>(out - start);
}

PageDelta encode_page(const PageEncode& in) noexcept {
  uint64_t candidates = 0;
  for (uint64_t l = 0; l < kLinesPerPage; l++) {
    candidates |= uint64_t{line_differs(in.source + l * kLineBytes, in.shadow + l * kLineBytes)} << l;
  }
  for (uint64_t l = 0; l < kLinesPerPage; l++) {
    __builtin_prefetch(in.ahead_source + l * kLineBytes);
    __builtin_prefetch(in.ahead_shadow + l * kLineBytes, 1);
  }
  PageDelta found;
  uint8_t* masks = in.word_masks;
  uint8_t* data = in.data;
  for (uint64_t left = candidates; left != 0; left &= left - 1) {
    const uint64_t l = lowest_bit(left);
    uint8_t* shadow = in.shadow + l * kLineBytes;
    uint64_t now[kWordsPerLine];
    load_line_once(in.source + l * kLineBytes, now);
    const uint64_t key = line_key(in.page * kLinesPerPage + l);
    uint8_t mask = 0;
    for (uint64_t j = 0; j < kWordsPerLine; j++) {
      const uint64_t before = load_le<uint64_t>(shadow + j * kWordBytes);
      if (before == now[j]) continue;
      mask |= static_cast<uint8_t>(1u << j);
      found.digest_change += digest_change(key, j, before, now[j]);
      store_le(shadow + j * kWordBytes, now[j]);
      store_le(data, now[j]);
      data += kWordBytes;
    }
    if (mask == 0) continue;  // the guest wrote the old value back in between
    *masks++ = mask;
    found.line_mask |= uint64_t{1} << l;
  }
  found.words = static_cast<uint32_t>((data - in.data) / kWordBytes);
  found.zero = found.words != 0 && is_zero(in.shadow, kPageBytes);
  return found;
}

uint64_t apply_delta(uint8_t* page, uint64_t page_number, uint64_t line_mask, const uint8_t* word_masks,
                     const uint8_t* data, const uint8_t* /*data_end*/) noexcept {
  uint64_t change = 0;
  for (; line_mask != 0; line_mask &= line_mask - 1) {
    const uint64_t l = lowest_bit(line_mask);
    const uint64_t key = line_key(page_number * kLinesPerPage + l);
    for (uint32_t mask = *word_masks++; mask != 0; mask &= mask - 1) {
      const uint64_t j = lowest_bit(mask);
      uint8_t* word = page + l * kLineBytes + j * kWordBytes;
      const uint64_t after = load_le<uint64_t>(data);
      change += digest_change(key, j, load_le<uint64_t>(word), after);
      store_le(word, after);
      data += kWordBytes;
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

const Kernels kPortableKernels = {"portable", take_pages, encode_page, apply_delta, apply_page, digest_lines};

}  // namespace romulus
