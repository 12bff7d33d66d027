/** Slots in a list from newest to oldest; the list changes only between epochs, so threads need no lock. */
#include "shadow.h"

#include <cerrno>
#include <cstring>

#include "bits.h"
#include "cpu.h"

namespace romulus {
namespace {

/** Calls with each page whose bit is set in one of the words named, until told false. */
template <typename F>
void for_pages(std::span<const uint64_t> bitmap, std::span<const uint32_t> words, F&& body) noexcept {
  for (const uint32_t word : words) {
    for (uint64_t bits = bitmap[word]; bits != 0; bits &= bits - 1) {
      if (!body(word * 64 + lowest_bit(bits))) return;
    }
  }
}

}  // namespace

Status Shadow::prepare(const Mapping& copies, uint64_t pages) noexcept {
  const uint64_t room = pages_in(copies.bytes());
  if (room > pages) return {EINVAL, "the shadow is larger than the memory"};
  copies_ = copies.data();
  full_ = room == pages;
  if (full_) return {};
  slots_.resize(room);
  if (Status status = states_.anonymous(pages * sizeof(uint32_t)); !status.ok()) return status;
  return digests_.anonymous(pages * sizeof(uint64_t));
}

void Shadow::unlink(uint32_t slot) noexcept {
  const Slot& out = slots_[slot];
  (out.newer == kNone ? newest_ : slots_[out.newer].older) = out.older;
  (out.older == kNone ? oldest_ : slots_[out.older].newer) = out.newer;
}

void Shadow::link_newest(uint32_t slot) noexcept {
  slots_[slot].newer = kNone;
  slots_[slot].older = newest_;
  (newest_ == kNone ? oldest_ : slots_[newest_].newer) = slot;
  newest_ = slot;
}

void Shadow::drop(uint32_t slot) noexcept {
  const Slot& old = slots_[slot];
  if (old.holds < kFirstSlot) {  // never got its copy
    states()[old.page] = old.holds;
    return;
  }
  const uint8_t* copy = copies_ + slot * kPageBytes;
  states()[old.page] = kDropped;
  digests()[old.page] = kernels().digest_lines(copy, uint64_t{old.page} * kLinesPerPage, kLinesPerPage);
}

uint32_t Shadow::take_slot() noexcept {
  if (used_ < slots_.size()) return used_++;
  if (oldest_ == kNone || slots_[oldest_].epoch == epoch_) return kNone;
  const uint32_t slot = oldest_;
  drop(slot);
  unlink(slot);
  return slot;
}

void Shadow::admit(std::span<const uint64_t> bitmap, std::span<const uint32_t> words) noexcept {
  if (full_) return;
  epoch_++;
  // Pages that have a copy come first, so that none of them is dropped for a page of the same epoch.
  for_pages(bitmap, words, [&](uint32_t page) {
    if (states()[page] < kFirstSlot) return true;
    const uint32_t slot = states()[page] - kFirstSlot;
    slots_[slot].epoch = epoch_;
    unlink(slot);
    link_newest(slot);
    return true;
  });
  for_pages(bitmap, words, [&](uint32_t page) {
    const uint32_t state = states()[page];
    if (state >= kFirstSlot) return true;
    const uint32_t slot = take_slot();
    if (slot == kNone) return false;
    slots_[slot] = {page, kNone, kNone, epoch_, state};
    link_newest(slot);
    states()[page] = slot + kFirstSlot;
    return true;
  });
}

Shadow::Base Shadow::bounded_base(uint64_t page, uint8_t* scratch) noexcept {
  const uint32_t state = states()[page];
  if (state < kFirstSlot) return {scratch, state == kDropped};
  const Slot& slot = slots_[state - kFirstSlot];
  uint8_t* const copy = copies_ + (state - kFirstSlot) * kPageBytes;
  if (slot.holds < kFirstSlot) std::memset(copy, 0, kPageBytes);
  return {copy, slot.holds == kDropped};
}

uint64_t Shadow::bounded_settle(uint64_t page, const PageDelta& delta, uint8_t* scratch) noexcept {
  const uint32_t state = states()[page];
  if (state >= kFirstSlot) {
    Slot& slot = slots_[state - kFirstSlot];
    const uint64_t before = slot.holds == kDropped ? digests()[page] : 0;
    slot.holds = kFirstSlot;
    return delta.digest_change - before;
  }
  const uint64_t before = state == kDropped ? digests()[page] : 0;
  if (delta.line_mask != 0) {
    digests()[page] = delta.digest_change;
    std::memset(scratch, 0, kPageBytes);
  }
  __atomic_store_n(states() + page, delta.line_mask != 0 ? kDropped : kZero, __ATOMIC_RELAXED);
  return delta.digest_change - before;
}

}  // namespace romulus
