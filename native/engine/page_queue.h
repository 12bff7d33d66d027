/** The dirty pages of an epoch as one thread gets them: some words at a time, with a look at the pages to come. */
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <span>

#include "cpu.h"
#include "kernels.h"

namespace romulus {

/** What the threads of one epoch share: the bitmap, the words of it that have bits set, and how far these were given out. */
struct DirtyList {
  uint64_t* bitmap;
  std::span<const uint32_t> words;
  /** Given out at once: enough to make taking cheap, few enough that threads end together. */
  uint64_t words_at_once;
  alignas(64) std::atomic<uint64_t> next{0};
};

class PageQueue {
 public:
  /** How far ahead ahead() looks: 2 and 1 were measured to be alike, 3 to be slower. */
  static constexpr uint64_t kAhead = 2;
  static constexpr uint64_t kMaxWordsAtOnce = 16;

  explicit PageQueue(DirtyList& from) noexcept : from_(from) {}

  /** False once no page is left for this thread. */
  bool next(uint64_t& page) noexcept {
    if (at_ + kAhead >= end_) refill();
    if (at_ == end_) return false;
    page = pages_[at_++];
    return true;
  }

  /** The page that next() will give after the one or two before it; the last there is, near the end. */
  uint64_t ahead() const noexcept { return pages_[std::min(at_ + kAhead - 1, end_ - 1)]; }

  /** Sets the bits of the page last given, and of all that were taken and not given, again. */
  void put_back() noexcept {
    for (uint64_t i = at_ - 1; i < end_; i++) from_.bitmap[pages_[i] / 64] |= uint64_t{1} << pages_[i] % 64;
    at_ = end_;
  }

 private:
  void refill() noexcept {
    const uint64_t left = end_ - at_;
    std::memmove(pages_, pages_ + at_, left * sizeof pages_[0]);
    at_ = 0;
    end_ = left;
    const uint64_t begin = from_.next.fetch_add(from_.words_at_once, std::memory_order_relaxed);
    if (begin >= from_.words.size()) return;
    const uint64_t count = std::min(from_.words_at_once, from_.words.size() - begin);
    end_ += kernels().take_pages(from_.bitmap, from_.words.data() + begin, count, pages_ + left);
  }

  DirtyList& from_;
  uint64_t at_ = 0;
  uint64_t end_ = 0;
  uint32_t pages_[kAhead + kMaxWordsAtOnce * 64 + kStoreSlackBytes];
};

}  // namespace romulus
