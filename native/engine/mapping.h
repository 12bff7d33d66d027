/** A mapped range of memory that unmaps itself: guest RAM, shadow copy, standby image. */
#pragma once

#include <cstdint>
#include <span>

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

  uint8_t* data() const noexcept { return data_; }
  uint64_t bytes() const noexcept { return bytes_; }
  bool writable() const noexcept { return writable_; }

 private:
  uint8_t* data_ = nullptr;
  uint64_t bytes_ = 0;
  bool writable_ = false;
  bool owned_ = true;
};

}  // namespace romulus
