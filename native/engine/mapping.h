/** A mapped range of memory that unmaps itself: guest RAM, shadow copy, standby image. */
#pragma once

#include <cstdint>
#include <vector>

#include "status.h"

namespace romulus {

class Mapping {
 public:
  struct Options {
    bool writable = false;
    /** Make the file if it is not there and grow it to size; it is never cut. */
    bool create = false;
    /** Take its blocks now: a full file system is ENOSPC here rather than SIGBUS at some later store. */
    bool reserve = false;
    /** Take blocks where reserve_pages() is told that something will be written: ENOSPC there. */
    bool sparse = false;
  };

  Mapping() noexcept = default;
  ~Mapping() { close(); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;

  /** Shared mapping of the first `bytes` of a file; EINVAL if the file is shorter. */
  Status open(const char* path, uint64_t bytes, Options options) noexcept;
  /** Private zeroed memory, given pages on first touch. */
  Status anonymous(uint64_t bytes) noexcept;
  /** Read-only view of memory that somebody else maps, and keeps mapped for as long as the view is used. */
  void view(const uint8_t* data, uint64_t bytes) noexcept;
  Status sync() noexcept;
  void close() noexcept;

  /** Pages from `first` on are about to be written. Nothing to do unless the mapping is sparse. Any thread may call. */
  Status reserve_pages(uint64_t first, uint64_t count) noexcept {
    return is_sparse() ? reserve_extents(first, count) : Status{};
  }
  bool is_sparse() const noexcept { return !reserved_.empty(); }
  /** The page has no block, and reads as zeros. Only a sparse mapping can tell. */
  bool is_hole(uint64_t page) const noexcept {
    return is_sparse() && !is_reserved(page / kExtentPages);
  }

  uint8_t* data() const noexcept { return data_; }
  uint64_t bytes() const noexcept { return bytes_; }
  bool writable() const noexcept { return writable_; }
  /** Of the file mapped, open as long as the mapping; -1 without one. */
  int fd() const noexcept { return fd_; }
  /** Memory of this process alone, from anonymous(). */
  bool is_private() const noexcept { return data_ != nullptr && owned_ && fd_ < 0; }

 private:
  /** Blocks are reserved in pieces of 64 KiB. */
  static constexpr uint64_t kExtentPages = 16;

  bool is_reserved(uint64_t extent) const noexcept {
    return (__atomic_load_n(&reserved_[extent / 64], __ATOMIC_RELAXED) >> extent % 64 & 1) != 0;
  }
  Status reserve_extents(uint64_t first, uint64_t count) noexcept;
  /** Marks what the file has blocks for as reserved. */
  void find_reserved() noexcept;

  uint8_t* data_ = nullptr;
  uint64_t bytes_ = 0;
  bool writable_ = false;
  bool owned_ = true;
  int fd_ = -1;
  /** One bit per extent; empty unless sparse. */
  std::vector<uint64_t> reserved_;
};

}  // namespace romulus
