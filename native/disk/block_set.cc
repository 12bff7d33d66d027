/** Word by word; runs of a whole disk touch each word once. */
#include "block_set.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

namespace romulus::disk {
namespace {

constexpr uint64_t kAll = ~uint64_t{0};

/** Bits of word `word` that lie in [first, end). */
uint64_t mask(uint64_t word, uint64_t first, uint64_t end) noexcept {
  const uint64_t base = word * 64;
  const uint64_t low = first > base ? kAll << (first - base) : kAll;
  const uint64_t high = end < base + 64 ? ~(kAll << (end - base)) : kAll;
  return low & high;
}

}  // namespace

Status BlockSet::create(uint64_t blocks) noexcept {
  if (blocks == 0 || blocks > kMaxDiskBytes / kBlockBytes) return {EINVAL, "a disk of that size cannot be tracked"};
  memory_ = std::make_unique<Mapping>();
  const uint64_t words = (blocks + 63) / 64;
  if (const Status status = memory_->anonymous((words * 8 + 4095) / 4096 * 4096); !status.ok()) return status;
  summary_.assign(words / (64 * 64) + 1, 0);
  blocks_ = blocks;
  count_ = 0;
  return {};
}

void BlockSet::set(Run run) noexcept {
  for (uint64_t word = run.first / 64; word * 64 < run.end(); word++) {
    const uint64_t bits = mask(word, run.first, run.end());
    count_ += static_cast<uint64_t>(std::popcount(bits & ~words()[word]));
    words()[word] |= bits;
    summary_[word / 4096] |= uint64_t{1} << (word / 64 % 64);
  }
}

void BlockSet::clear(Run run) noexcept {
  for (uint64_t word = skip_empty(run.first / 64, run.end()); word * 64 < run.end(); word = skip_empty(word + 1, run.end())) {
    const uint64_t bits = mask(word, run.first, run.end());
    count_ -= static_cast<uint64_t>(std::popcount(bits & words()[word]));
    words()[word] &= ~bits;
  }
}

void BlockSet::clear_all() noexcept {
  if (count_ > 0) clear({0, blocks_});
  std::fill(summary_.begin(), summary_.end(), 0);
}

bool BlockSet::intersects(Run run) const noexcept { return next(run.first, run.end()).count > 0; }

uint64_t BlockSet::skip_empty(uint64_t word, uint64_t end) const noexcept {
  while (word * 64 < end) {
    const uint64_t above = summary_[word / 4096] >> (word / 64 % 64);
    if ((above & 1) != 0) return word;
    // To the next 64 words that may hold something, or to the next word of the summary.
    const uint64_t group = word / 64 + (above == 0 ? 64 - word / 64 % 64 : static_cast<uint64_t>(std::countr_zero(above)));
    word = group * 64;
  }
  return word;
}

Run BlockSet::next(uint64_t from, uint64_t end, bool state) const noexcept {
  end = std::min(end, blocks_);
  const auto find = [&](uint64_t at, bool wanted) {
    for (uint64_t word = at / 64; word * 64 < end; word++) {
      if (wanted) word = skip_empty(word, end);
      if (word * 64 >= end) return end;
      const uint64_t bits = (wanted ? words()[word] : ~words()[word]) & mask(word, at, end);
      if (bits != 0) return word * 64 + static_cast<uint64_t>(std::countr_zero(bits));
    }
    return end;
  };
  if (from >= end) return {end, 0};
  const uint64_t first = find(from, state);
  return {first, first < end ? find(first, !state) - first : 0};
}

void BlockSet::swap(BlockSet& other) noexcept {
  std::swap(memory_, other.memory_);
  std::swap(summary_, other.summary_);
  std::swap(blocks_, other.blocks_);
  std::swap(count_, other.count_);
}

}  // namespace romulus::disk
