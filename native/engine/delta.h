/** How the change of one page is written: which lines changed, and for each the cheapest of four kinds (FORMAT.md). */
#pragma once

#include <cstdint>

#include "page.h"

namespace romulus {

/** What a line may be cut into: words keep what compressors find repeats by, bytes are smallest as they are, and quickest compressed. */
enum class Grain : uint8_t { words = 0, bytes = 1 };

/** The bits matter: 1 has a mask of repeats, 2 has masks of bytes. */
enum class LineKind : uint8_t {
  /** Changed words, whole. */
  words = 0,
  /** Changed words, but for those equal to the word before them. */
  repeats = 1,
  /** Changed bytes of changed words. */
  bytes = 2,
  /** Like `repeats`, and of each word only the bytes that are not zero. */
  nonzero = 3,
};

/** Masks of one line, at most: its words, its repeats, and the bytes of eight words. */
inline constexpr uint64_t kMaxLineMaskBytes = 2 + kWordsPerLine;
inline constexpr uint64_t kMaxPageMaskBytes = kLinesPerPage * kMaxLineMaskBytes;
/** Two bits for each changed line, four lines to a byte. */
inline constexpr uint64_t kMaxKindBytes = kLinesPerPage / 4;
/** Which of eight groups of lines changed, and which lines in each. */
inline constexpr uint64_t kMaxLineSetBytes = 1 + kLinesPerPage / 8;

/** What comparing one page with its shadow found and wrote. */
struct PageDelta {
  /** Bit l: line l changed. 0: the page did not change. */
  uint64_t line_mask = 0;
  /** Kinds of the changed lines, two bits each, lowest line first. */
  uint64_t kinds[2] = {0, 0};
  /** Bytes written to the mask and to the data stream. */
  uint32_t mask_bytes = 0;
  uint32_t data_bytes = 0;
  uint32_t words = 0;
  /** The page is all zero now. Only meaningful if it changed. */
  bool zero = false;
  uint64_t digest_change = 0;

};

/** Gathers the kinds of a page's lines in a register, and puts them down 32 at a time. */
class KindList {
 public:
  explicit KindList(PageDelta& delta) noexcept : delta_(delta) {}
  void add(uint32_t kind) noexcept {
    if (lines_ == kPerWord) delta_.kinds[0] = word_, word_ = 0;
    word_ |= uint64_t{kind} << (2 * (lines_++ % kPerWord));
  }
  void end() noexcept { delta_.kinds[lines_ > kPerWord] = word_; }

 private:
  static constexpr uint32_t kPerWord = 32;
  PageDelta& delta_;
  uint64_t word_ = 0;
  uint32_t lines_ = 0;
};

/** One page's delta as a reader found it; all that its masks name lies within the streams. */
struct DeltaView {
  uint64_t line_mask;
  const uint8_t* kinds;
  const uint8_t* masks;
  const uint8_t* data;
  /** No byte at or beyond this may be read. */
  const uint8_t* end;
};

inline uint32_t kind_of(const uint8_t* kinds, uint32_t nth_line) noexcept {
  return kinds[nth_line / 4] >> (2 * (nth_line % 4)) & 3u;
}

/** What the mask stream says of a line's words. */
struct LineHead {
  uint32_t kind;
  uint32_t words;
  /** Those of them that are equal to the word before. */
  uint32_t repeats;
};

/** Moves `masks` on to the masks of bytes, if the kind has any. */
inline LineHead read_line_head(const uint8_t* kinds, uint32_t nth_line, const uint8_t*& masks) noexcept {
  const uint32_t kind = kind_of(kinds, nth_line);
  const uint32_t words = *masks++;
  return {kind, words, (kind & 1) != 0 ? *masks++ : 0u};
}

/** What the choice of a line's kind follows from. */
struct LineCounts {
  uint32_t words;
  /** Of these, the ones equal to the word before them. */
  uint32_t repeats;
  uint32_t changed_bytes;
  /** Bytes not zero in the words that are no repeats. */
  uint32_t nonzero_bytes;
};

/** Fewest bytes of masks and data; the lowest kind among equals. Without branches: any outcome is as likely as another. */
inline uint32_t cheapest_of_words(uint32_t words, uint32_t repeats) noexcept {
  const uint32_t plain = (8 * words) << 2;
  const uint32_t repeating = (1 + 8 * (words - repeats)) << 2 | 1;
  return (plain < repeating ? plain : repeating) & 3;
}

inline uint32_t cheapest_of_all(const LineCounts& of) noexcept {
  const uint32_t kept = of.words - of.repeats;
  const uint32_t costs[4] = {(8 * of.words) << 2, (1 + 8 * kept) << 2 | 1, (of.words + of.changed_bytes) << 2 | 2,
                             (1 + kept + of.nonzero_bytes) << 2 | 3};
  const uint32_t a = costs[0] < costs[1] ? costs[0] : costs[1];
  const uint32_t b = costs[2] < costs[3] ? costs[2] : costs[3];
  return (a < b ? a : b) & 3;
}

}  // namespace romulus
