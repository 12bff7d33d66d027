/** What the backup has of each page: the copy itself while there is room for it, else only its digest. */
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "delta.h"
#include "mapping.h"
#include "status.h"

namespace romulus {

/**
 * With as much room as the guest has memory every page has its place. With less, the copies of the pages dirtied least
 * recently are dropped: such a page is sent anew when it is dirtied next, and is compared with zeros to that end.
 */
class Shadow {
 public:
  /** Where a page is compared. */
  struct Base {
    uint8_t* at;
    /** The copy was dropped: `at` holds zeros, and the page is sent whatever the comparison finds. */
    bool is_unknown;
  };

  /** `copies` holds whole pages, at most as many as `pages`, maybe none; it outlives this. */
  Status prepare(const Mapping& copies, uint64_t pages) noexcept;
  bool is_full() const noexcept { return full_; }

  /** An epoch begins: makes room for copies of its pages, the bits set in these words, as far as there is any. Nobody else may be in here. */
  void admit(std::span<const uint64_t> bitmap, std::span<const uint32_t> words) noexcept;

  /** One thread at a time for each page. `scratch`: a page of zeros of this thread's, for pages without a copy. */
  Base base(uint64_t page, uint8_t* scratch) noexcept {
    return full_ ? Base{copies_ + page * kPageBytes, false} : bounded_base(page, scratch);
  }
  /** What the backup has of a page, if that is kept; null else. Not of a page that another thread is between base() and settle() of. */
  const uint8_t* copy_of(uint64_t page) const noexcept {
    if (full_) return copies_ + page * kPageBytes;
    const uint32_t state = __atomic_load_n(states() + page, __ATOMIC_RELAXED);
    return state < kFirstSlot || slots_[state - kFirstSlot].holds < kFirstSlot ? nullptr : copies_ + (state - kFirstSlot) * kPageBytes;
  }
  /** Whether base() gives the page's own place, so that what is put there stays. */
  bool keeps(uint64_t page) const noexcept { return full_ || states()[page] >= kFirstSlot; }
  /** Memory that base() will name, to be pulled into the caches. */
  const uint8_t* ahead(uint64_t page, const uint8_t* scratch) const noexcept {
    if (full_) return copies_ + page * kPageBytes;
    // Another thread may be settling that page; either answer is good enough to prefetch.
    const uint32_t state = __atomic_load_n(states() + page, __ATOMIC_RELAXED);
    return state < kFirstSlot ? scratch : copies_ + (state - kFirstSlot) * kPageBytes;
  }
  /** The page was encoded against base(); returns what that adds to the digest of all that the backup has. */
  uint64_t settle(uint64_t page, const PageDelta& delta, uint8_t* scratch) noexcept {
    return full_ ? delta.digest_change : bounded_settle(page, delta, scratch);
  }

 private:
  /** States of a page; from kFirstSlot on it has the copy of number state - kFirstSlot. */
  static constexpr uint32_t kZero = 0;
  static constexpr uint32_t kDropped = 1;
  static constexpr uint32_t kFirstSlot = 2;
  static constexpr uint32_t kNone = ~uint32_t{0};

  struct Slot {
    uint32_t page = kNone;
    uint32_t newer = kNone;
    uint32_t older = kNone;
    /** Epoch that dirtied the page last. */
    uint32_t epoch = 0;
    /** kZero or kDropped until the page is encoded into the slot for the first time; kFirstSlot from then on. */
    uint32_t holds = kZero;
  };

  Base bounded_base(uint64_t page, uint8_t* scratch) noexcept;
  uint64_t bounded_settle(uint64_t page, const PageDelta& delta, uint8_t* scratch) noexcept;
  /** A slot that no page of this epoch has; kNone if there is none. */
  uint32_t take_slot() noexcept;
  void drop(uint32_t slot) noexcept;
  void unlink(uint32_t slot) noexcept;
  void link_newest(uint32_t slot) noexcept;

  uint32_t* states() const noexcept { return reinterpret_cast<uint32_t*>(states_.data()); }
  uint64_t* digests() const noexcept { return reinterpret_cast<uint64_t*>(digests_.data()); }

  bool full_ = true;
  uint8_t* copies_ = nullptr;
  /** One number per page of the guest, and a digest for each page whose copy was dropped; given memory on first touch. */
  Mapping states_;
  Mapping digests_;
  std::vector<Slot> slots_;
  uint32_t used_ = 0;
  uint32_t newest_ = kNone;
  uint32_t oldest_ = kNone;
  uint32_t epoch_ = 0;
};

}  // namespace romulus
