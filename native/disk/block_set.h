/** A set of disk blocks of 4 KiB: a bitmap with a summary above it, so that a few blocks of a large disk are found at once. */
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "../engine/mapping.h"
#include "../engine/status.h"

namespace romulus::disk {

inline constexpr uint64_t kBlockBytes = 4096;
/** 64 TiB. */
inline constexpr uint64_t kMaxDiskBytes = uint64_t{1} << 46;

/** Blocks first .. first + count - 1. */
struct Run {
  uint64_t first = 0;
  uint64_t count = 0;

  uint64_t end() const noexcept { return first + count; }
  bool overlaps(const Run& other) const noexcept { return first < other.end() && other.first < end(); }
};

/** All blocks that a range of bytes touches. */
inline Run blocks_touched(uint64_t offset, uint64_t bytes) noexcept {
  const uint64_t first = offset / kBlockBytes;
  return {first, bytes == 0 ? 0 : (offset + bytes + kBlockBytes - 1) / kBlockBytes - first};
}

/** The blocks that lie in a range of bytes whole; the last of the disk counts although it may be shorter. */
inline Run blocks_within(uint64_t offset, uint64_t bytes, uint64_t disk_bytes) noexcept {
  const uint64_t first = (offset + kBlockBytes - 1) / kBlockBytes;
  const uint64_t end = offset + bytes == disk_bytes ? (disk_bytes + kBlockBytes - 1) / kBlockBytes : (offset + bytes) / kBlockBytes;
  return {first, end > first ? end - first : 0};
}

class BlockSet {
 public:
  Status create(uint64_t blocks) noexcept;

  /** Callers check that runs lie within the set. */
  void set(Run run) noexcept;
  void clear(Run run) noexcept;
  void clear_all() noexcept;
  bool test(uint64_t block) const noexcept { return (words()[block / 64] >> (block % 64) & 1) != 0; }
  bool intersects(Run run) const noexcept;
  /** The first run of set blocks (or, with `state` false, of blocks not set) at or behind `from` and before `end`; count 0: none. */
  Run next(uint64_t from, uint64_t end, bool state = true) const noexcept;

  uint64_t count() const noexcept { return count_; }
  uint64_t blocks() const noexcept { return blocks_; }
  void swap(BlockSet& other) noexcept;

 private:
  uint64_t* words() const noexcept { return reinterpret_cast<uint64_t*>(memory_->data()); }
  /** The first word at or behind `word` that may have a bit set, by the summary. */
  uint64_t skip_empty(uint64_t word, uint64_t end) const noexcept;

  std::unique_ptr<Mapping> memory_;
  /** One bit for each 64 words; a bit may be set although its words are empty again. */
  std::vector<uint64_t> summary_;
  uint64_t blocks_ = 0;
  uint64_t count_ = 0;
};

}  // namespace romulus::disk
