/**
 * One disk of a guest on this host, in either role: image, dirty map and changes together, behind what an NBD client may
 * ask of it. Shut for writing until set_writable(): a standby's disk changes by committed epochs only.
 */
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>

#include "changes.h"
#include "dirty_map.h"
#include "disk_image.h"

namespace romulus::disk {

struct DiskCounts {
  uint64_t reads = 0;
  uint64_t writes = 0;
  uint64_t flushes = 0;
  uint64_t read_bytes = 0;
  uint64_t written_bytes = 0;
  /** Of requests refused because the disk is shut for writing. */
  uint64_t refused = 0;
};

class Disk {
 public:
  Disk(ChangesLimits limits, std::function<void()> on_pressure) : changes_(image_, map_, limits, std::move(on_pressure)) {}

  /** Opens image and map; `create_bytes` as Image::open(). */
  Status open(const char* image_path, const char* map_path, uint64_t create_bytes) noexcept;

  uint64_t bytes() const noexcept { return image_.bytes(); }
  bool writable() const noexcept { return writable_; }
  void set_writable(bool writable) noexcept { writable_ = writable; }

  Status read(uint64_t offset, std::span<uint8_t> to) noexcept;
  /** Reads what need not be waited for; false, with `to` undefined, if any of it must be. */
  bool read_cached(uint64_t offset, std::span<uint8_t> to) noexcept;
  Status write(uint64_t offset, std::span<const uint8_t> from) noexcept;
  /** `op` kZero or kTrim. */
  Status zero(uint64_t offset, uint64_t bytes, Op op) noexcept;
  Status flush() noexcept;

  /** Backup: checks a payload and marks its blocks, before its epoch is acknowledged. EBADMSG if it does not decode within this disk. */
  Status expect(std::span<const uint8_t> payload) noexcept;
  /** Backup: brings a committed epoch's payload into the image. */
  Status apply(std::span<const uint8_t> payload) noexcept;
  /** Backup: an applied payload's blocks no longer differ. */
  void settle(std::span<const uint8_t> payload) noexcept;
  /** Makes the image durable, and lets extents that have settled become inactive. Call it every some seconds. */
  Status rest() noexcept;

  Changes& changes() noexcept { return changes_; }
  DirtyMap& map() noexcept { return map_; }
  DiskCounts counts() const noexcept;

 private:
  template <typename Change>
  Status change(uint64_t offset, uint64_t bytes, Op op, Change&& make) noexcept;

  Image image_;
  DirtyMap map_;
  Changes changes_;
  std::atomic<bool> writable_ = false;
  std::atomic<uint64_t> reads_ = 0;
  std::atomic<uint64_t> writes_ = 0;
  std::atomic<uint64_t> flushes_ = 0;
  std::atomic<uint64_t> read_bytes_ = 0;
  std::atomic<uint64_t> written_bytes_ = 0;
  std::atomic<uint64_t> refused_ = 0;
};

}  // namespace romulus::disk
