/** Which words of a page that changed a lot stand in the shadow copy already. */
#pragma once

#include <cstdint>

#include "anchors.h"
#include "content_index.h"
#include "copies.h"
#include "shadow.h"

namespace romulus {

/** What a run must save: its place, length and source cost some 8 bytes, and what it replaces compresses too. */
inline constexpr uint32_t kMinCopiedWords = 16;
/** Of a page at least one in so many changed words: with less it is worth more as a source, which a page with runs cannot be. */
inline constexpr uint32_t kMinCopiedShare = 8;
inline constexpr uint32_t kMaxPageRuns = 32;

struct PageRuns {
  CopyRun runs[kMaxPageRuns];
  uint32_t count = 0;
  /** Words of all runs that differ from what the page held. */
  uint32_t changed_words = 0;
  /** All anchors of what changed, for ContentIndex::note(). */
  Anchors anchors;
};

/**
 * Runs for a page that is `now` and of which the backup has `before`, from pages that `index` has open and `shadow` has a copy of.
 * `line_mask`: which lines changed.
 */
void find_runs(const ContentIndex& index, const Shadow& shadow, uint64_t page, const uint8_t* now, const uint8_t* before,
               uint64_t line_mask, PageRuns& found) noexcept;

}  // namespace romulus
