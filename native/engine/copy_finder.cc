/** All table entries of a page are asked for before the first is used, then all sources: memory is waited for twice, not per anchor. */
#include "copy_finder.h"

#include <algorithm>

#include "bits.h"
#include "cpu.h"

namespace romulus {
namespace {

uint64_t word_at(const uint8_t* page, uint32_t word) noexcept { return load_le<uint64_t>(page + word * kWordBytes); }

/** How many words from here on are equal, at most `most`. */
uint32_t equal_after(const uint8_t* a, const uint8_t* b, uint32_t most) noexcept {
  uint32_t count = 0;
  while (count + 4 <= most && std::memcmp(a + count * kWordBytes, b + count * kWordBytes, 4 * kWordBytes) == 0) count += 4;
  while (count < most && word_at(a, count) == word_at(b, count)) count++;
  return count;
}

/** How many words before here are equal, at most `most`. */
uint32_t equal_before(const uint8_t* a, const uint8_t* b, uint32_t most) noexcept {
  uint32_t count = 0;
  while (count < most && load_le<uint64_t>(a - (count + 1) * kWordBytes) == load_le<uint64_t>(b - (count + 1) * kWordBytes)) count++;
  return count;
}

uint32_t differing_words(const uint8_t* a, const uint8_t* b, uint32_t words) noexcept {
  uint32_t count = 0;
  for (uint32_t i = 0; i < words; i++) count += word_at(a, i) != word_at(b, i);
  return count;
}

}  // namespace

void find_runs(const ContentIndex& index, const Shadow& shadow, uint64_t page, const uint8_t* now, const uint8_t* before,
               uint64_t line_mask, PageRuns& found) noexcept {
  found.count = 0;
  found.changed_words = 0;
  Anchors& anchors = found.anchors;
  kernels().find_anchors(now, line_mask | line_mask >> 1, anchors);
  for (size_t i = 0; i < anchors.count; i++) index.prefetch(anchors.hashes[i]);
  /** Of each anchor the page it may be copied from, and the word there. */
  const uint8_t* sources[kWordsPerPage];
  ContentIndex::Place places[kWordsPerPage];
  for (size_t i = 0; i < anchors.count; i++) {
    places[i] = index.find(anchors.hashes[i]);
    const bool is_usable = places[i].known && places[i].page != page && index.is_open(places[i].page);
    sources[i] = is_usable ? shadow.copy_of(places[i].page) : nullptr;
    if (sources[i] != nullptr) __builtin_prefetch(sources[i] + places[i].word * kWordBytes);
  }
  uint32_t free_from = 0;
  for (size_t i = 0; i < anchors.count && found.count < kMaxPageRuns; i++) {
    const uint32_t word = anchors.words[i];
    if (sources[i] == nullptr || word < free_from) continue;
    const auto& [source_page, source_word, known] = places[i];
    const uint8_t* const to = now + word * kWordBytes;
    const uint8_t* const from = sources[i] + source_word * kWordBytes;
    const auto room = static_cast<uint32_t>(kWordsPerPage) - std::max(word, source_word);
    const uint32_t after = equal_after(to, from, room);
    if (after < kWindowWords) continue;
    const uint32_t ahead = equal_before(to, from, std::min(word - free_from, source_word));
    const uint32_t begin = word - ahead;
    const uint32_t words = ahead + after;
    const uint32_t changed = differing_words(now + begin * kWordBytes, before + begin * kWordBytes, words);
    if (changed < kMinCopiedWords) continue;
    found.runs[found.count++] = {page * kWordsPerPage + begin, source_page * kWordsPerPage + source_word - ahead, words};
    found.changed_words += changed;
    free_from = begin + words;
  }
  if (found.changed_words * kMinCopiedShare < popcount64(line_mask) * kWordsPerLine) found.count = found.changed_words = 0;
}

}  // namespace romulus
