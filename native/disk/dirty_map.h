/**
 * Which blocks of a disk may differ from those of its pair on the other host: a mapped file that survives a kill -9 exactly
 * and a power cut by extents, so that a later resynchronisation sends only what differs.
 *
 * Two levels, like DRBD's activity log. The block bits are exact, but reach the file when the kernel pleases. The extent
 * bits are durable before the first write to their extent; after a power cut every block of an active extent counts.
 */
#pragma once

#include <cstdint>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "../engine/mapping.h"
#include "../engine/status.h"

namespace romulus::disk {

class DirtyMap {
 public:
  /** Room for the name of a pair, and the bits sent to the other host, at most. */
  static constexpr size_t kPairBytes = 64;
  static constexpr uint64_t kMaxBlocks = uint64_t{1} << 23;
  static constexpr uint64_t kMinBlockBytes = 64 * 1024;
  static constexpr uint64_t kExtentBytes = 16 * 1024 * 1024;

  /** Opens the map of a disk of that size. A file that is not there, or was another disk's, becomes one that says: all differs. */
  Status open(const char* path, uint64_t disk_bytes) noexcept;
  void close() noexcept;

  /** These bytes may differ from now on. Durable on return, by extent. */
  Status mark(uint64_t offset, uint64_t bytes) noexcept;
  /** The same content is on both hosts, in the blocks first .. end - 1 of this map. */
  void clear(uint64_t first, uint64_t end) noexcept;
  void mark_all() noexcept;
  /** Adds another map's bits(); EINVAL unless they are of a disk of the same size. */
  Status merge(std::span<const uint8_t> bits) noexcept;
  std::vector<uint8_t> bits() noexcept;
  /** The first run of set blocks at or behind `from`: false if there is none. */
  bool next(uint64_t from, uint64_t& first, uint64_t& end) noexcept;
  uint64_t count() noexcept;

  /** Extents written before the image was last made durable, and clear, become inactive: end_rest() after begin_rest() and a flush. */
  void begin_rest() noexcept;
  void end_rest() noexcept;

  /** Name of the pair of disks that these bits compare; empty if there is none. Durable on return. */
  std::string pair() noexcept;
  Status set_pair(const std::string& pair) noexcept;

  uint64_t block_bytes() const noexcept { return block_bytes_; }
  uint64_t blocks() const noexcept { return blocks_; }

 private:
  struct Header;
  Header& header() const noexcept { return *reinterpret_cast<Header*>(file_.data()); }
  uint64_t* extent_words() const noexcept;
  uint64_t* block_words() const noexcept;
  Status activate(uint64_t first, uint64_t end) noexcept;
  void set_bits(uint64_t first, uint64_t end) noexcept;
  void take_over_after_reboot() noexcept;
  bool extent_active(uint64_t extent) const noexcept { return (extent_words()[extent / 64] >> (extent % 64) & 1) != 0; }
  bool extent_dirty(uint64_t extent) const noexcept;
  Status sync_bytes(uint64_t offset, uint64_t bytes) noexcept;

  std::mutex mutex_;
  Mapping file_;
  uint64_t disk_bytes_ = 0;
  uint64_t block_bytes_ = 0;
  uint64_t blocks_ = 0;
  uint64_t extents_ = 0;
  uint64_t extents_offset_ = 0;
  uint64_t blocks_offset_ = 0;
  /** Rests that have begun since an extent was last written, up to 2. */
  std::vector<uint8_t> rested_;
};

}  // namespace romulus::disk
