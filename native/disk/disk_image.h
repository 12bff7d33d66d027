/** A raw disk image, file or block device: whole reads and writes, zeroed or emptied by range, durable on request. */
#pragma once

#include <cstdint>
#include <span>

#include "../engine/status.h"

namespace romulus::disk {

class Image {
 public:
  Image() noexcept = default;
  ~Image() { close(); }
  Image(const Image&) = delete;
  Image& operator=(const Image&) = delete;

  /**
   * Opens it for this process alone (EBUSY if another holds it). With `create_bytes`, a file that is not there is made,
   * sparse, of that size.
   */
  Status open(const char* path, uint64_t create_bytes) noexcept;
  void close() noexcept;

  uint64_t bytes() const noexcept { return bytes_; }

  /** Callers check that the range lies within bytes(). */
  Status read(uint64_t offset, std::span<uint8_t> to) const noexcept;
  /** Reads from the page cache alone; false, with `to` undefined, if not all of it is there. */
  bool read_cached(uint64_t offset, std::span<uint8_t> to) const noexcept;
  Status write(uint64_t offset, std::span<const uint8_t> from) noexcept;
  /** Reads as zeros afterwards, its space kept. */
  Status zero(uint64_t offset, uint64_t bytes) noexcept;
  /** Reads as zeros afterwards, its space given back where that can be done. */
  Status trim(uint64_t offset, uint64_t bytes) noexcept;
  /** All that was written is on stable storage afterwards. */
  Status flush() noexcept;
  /** The first hole at or behind `from`; false if there is none, or nobody can tell. */
  bool next_hole(uint64_t from, uint64_t& begin, uint64_t& end) const noexcept;

 private:
  Status write_zeros(uint64_t offset, uint64_t bytes) noexcept;

  int fd_ = -1;
  uint64_t bytes_ = 0;
};

}  // namespace romulus::disk
