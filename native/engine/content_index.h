/** Where in the shadow copy content stands: a table of anchors of fixed size, in which newer places take the room of older ones. */
#pragma once

#include <cstdint>

#include "anchors.h"
#include "mapping.h"
#include "status.h"

namespace romulus {

/**
 * An entry may be stale: whoever finds one compares what is there now. So the table needs no lock, only whole words; threads may
 * note, find and mark at once.
 */
class ContentIndex {
 public:
  static constexpr uint64_t kEntries = uint64_t{1} << 20;
  /** A GiB of pages noted sparsely fills the table once. */
  static constexpr uint64_t kSparse = 8;

  struct Place {
    uint64_t page;
    uint32_t word;
    /** False if the table has nothing of this hash. */
    bool known;
  };

  /** Takes its memory on the first call; of a guest of `pages` pages. */
  Status prepare(uint64_t pages) noexcept;
  bool is_prepared() const noexcept { return table_.data() != nullptr; }
  uint64_t bytes() const noexcept { return is_prepared() ? table_.bytes() + seen_.bytes() + shut_.bytes() : 0; }

  /** Whether the page was never seen before; from now on it was. */
  bool see(uint64_t page) noexcept { return set(seen_, page); }

  void note(uint64_t page, const Anchors& anchors) noexcept { note_some(page, anchors, 0); }
  /** Notes one in kSparse: what was not written lately fills the table, and is copied in long runs or not at all. */
  void note_sparsely(uint64_t page, const Anchors& anchors) noexcept { note_some(page, anchors, kSparse - 1); }
  void prefetch(uint64_t hash) const noexcept { __builtin_prefetch(entries() + spread(hash) % kEntries); }
  Place find(uint64_t hash) const noexcept {
    const uint64_t spreaded = spread(hash);
    const uint64_t found = __atomic_load_n(entries() + spreaded % kEntries, __ATOMIC_RELAXED);
    const uint64_t at = found & kPlaceMask;
    return {at / kWordsPerPage, static_cast<uint32_t>(at % kWordsPerPage), (found ^ entry(spreaded, 0, 0)) <= kPlaceMask && found != 0};
  }

  /** A page from which nothing may be copied in this epoch, and when it may again. What was written before open() is seen after is_open(). */
  void shut(uint64_t page) noexcept { set(shut_, page); }
  void open(uint64_t page) noexcept { __atomic_fetch_and(word(shut_, page), ~bit(page), __ATOMIC_RELEASE); }
  bool is_open(uint64_t page) const noexcept { return (__atomic_load_n(word(shut_, page), __ATOMIC_ACQUIRE) & bit(page)) == 0; }

 private:
  /** An entry: the upper bits of the hash, then page and word. */
  static constexpr uint32_t kPlaceBits = 40;
  static constexpr uint64_t kPlaceMask = (uint64_t{1} << kPlaceBits) - 1;
  static_assert(kMaxPages * kWordsPerPage == kPlaceMask + 1);

  void note_some(uint64_t page, const Anchors& anchors, uint64_t left_out) noexcept {
    for (size_t i = 0; i < anchors.count; i++) {
      const uint64_t hash = spread(anchors.hashes[i]);
      if ((hash >> kSparseShift & left_out) != 0) continue;
      __atomic_store_n(entries() + hash % kEntries, entry(hash, page, anchors.words[i]), __ATOMIC_RELAXED);
    }
  }
  /** Bits of the hash that choose no slot. */
  static constexpr uint32_t kSparseShift = 24;

  static uint64_t spread(uint64_t hash) noexcept {
    const uint64_t product = hash * kWindowKey;
    return product ^ product >> 29;
  }
  static uint64_t entry(uint64_t hash, uint64_t page, uint32_t word) noexcept {
    return (hash & ~kPlaceMask) | (page * kWordsPerPage + word);
  }
  static uint64_t bit(uint64_t page) noexcept { return uint64_t{1} << page % 64; }
  static uint64_t* word(const Mapping& bits, uint64_t page) noexcept { return reinterpret_cast<uint64_t*>(bits.data()) + page / 64; }
  static bool set(const Mapping& bits, uint64_t page) noexcept {
    return (__atomic_fetch_or(word(bits, page), bit(page), __ATOMIC_RELAXED) & bit(page)) == 0;
  }
  uint64_t* entries() const noexcept { return reinterpret_cast<uint64_t*>(table_.data()); }

  Mapping table_;
  /** One bit a page. */
  Mapping seen_;
  Mapping shut_;
};

}  // namespace romulus
