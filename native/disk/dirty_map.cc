/** File: one page of header, the extent bits, the block bits, each from a page boundary on. */
#include "dirty_map.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace romulus::disk {
namespace {

constexpr uint64_t kPage = 4096;
constexpr char kMagic[8] = {'R', 'O', 'M', 'D', 'M', 'A', 'P', '1'};
constexpr size_t kBootIdBytes = 40;
/** Two rests have begun since the last write, so it was over before the flush of the second. */
constexpr uint8_t kSettled = 2;
/** An extent behind an active one becomes active with so many more: who writes on and on waits seldom. */
constexpr uint64_t kExtentsAhead = 8;

uint64_t pages_for_bits(uint64_t bits) noexcept { return (bits + kPage * 8 - 1) / (kPage * 8) * kPage; }

void read_boot_id(char (&id)[kBootIdBytes]) noexcept {
  std::memset(id, 0, sizeof id);
  if (std::FILE* file = std::fopen("/proc/sys/kernel/random/boot_id", "re")) {
    if (std::fgets(id, sizeof id, file) == nullptr) id[0] = 0;
    std::fclose(file);
  }
}

}  // namespace

struct DirtyMap::Header {
  char magic[8];
  uint64_t disk_bytes;
  uint64_t block_bytes;
  char boot_id[kBootIdBytes];
  char pair[kPairBytes];
};

uint64_t* DirtyMap::extent_words() const noexcept { return reinterpret_cast<uint64_t*>(file_.data() + extents_offset_); }
uint64_t* DirtyMap::block_words() const noexcept { return reinterpret_cast<uint64_t*>(file_.data() + blocks_offset_); }

Status DirtyMap::open(const char* path, uint64_t disk_bytes) noexcept {
  close();
  disk_bytes_ = disk_bytes;
  block_bytes_ = std::max(kMinBlockBytes, std::bit_ceil((disk_bytes + kMaxBlocks - 1) / kMaxBlocks));
  blocks_ = (disk_bytes + block_bytes_ - 1) / block_bytes_;
  extents_ = (disk_bytes + kExtentBytes - 1) / kExtentBytes;
  extents_offset_ = kPage;
  blocks_offset_ = kPage + pages_for_bits(extents_);
  const uint64_t size = blocks_offset_ + pages_for_bits(blocks_);
  if (const Status status = file_.open(path, size, {.writable = true, .create = true, .reserve = true}); !status.ok()) return status;
  rested_.assign(extents_, 0);
  char boot_id[kBootIdBytes];
  read_boot_id(boot_id);
  Header& head = header();
  const bool ours = std::memcmp(head.magic, kMagic, sizeof kMagic) == 0 && head.disk_bytes == disk_bytes && head.block_bytes == block_bytes_;
  if (!ours) {
    std::memset(head.magic, 0, sizeof head.magic);
    head.disk_bytes = disk_bytes;
    head.block_bytes = block_bytes_;
    std::memset(head.pair, 0, sizeof head.pair);
    mark_all();
    if (const Status status = file_.sync(); !status.ok()) return status;
  } else if (std::memcmp(head.boot_id, boot_id, sizeof boot_id) != 0) {
    take_over_after_reboot();
    if (const Status status = file_.sync(); !status.ok()) return status;
  }
  std::memcpy(head.boot_id, boot_id, sizeof boot_id);
  std::memcpy(head.magic, kMagic, sizeof kMagic);
  return sync_bytes(0, kPage);
}

void DirtyMap::close() noexcept { file_.close(); }

/** What lay in the page cache is gone: an active extent may have lost any of its writes, and any of its block bits. */
void DirtyMap::take_over_after_reboot() noexcept {
  const uint64_t per_extent = std::max<uint64_t>(1, kExtentBytes / block_bytes_);
  for (uint64_t extent = 0; extent < extents_; extent++) {
    if (!extent_active(extent)) continue;
    const uint64_t first = extent * kExtentBytes / block_bytes_;
    set_bits(first, std::min(blocks_, first + per_extent));
  }
}

Status DirtyMap::mark(uint64_t offset, uint64_t bytes) noexcept {
  if (bytes == 0) return {};
  const std::lock_guard lock(mutex_);
  const uint64_t end = offset + bytes;
  if (const Status status = activate(offset / kExtentBytes, (end + kExtentBytes - 1) / kExtentBytes); !status.ok()) return status;
  set_bits(offset / block_bytes_, (end + block_bytes_ - 1) / block_bytes_);
  return {};
}

Status DirtyMap::activate(uint64_t first, uint64_t end) noexcept {
  bool changed = false;
  uint64_t last = end;
  for (uint64_t extent = first; extent < end; extent++) {
    rested_[extent] = 0;
    if (extent_active(extent)) continue;
    if (!changed && extent > 0 && extent_active(extent - 1)) last = std::min(extents_, end + kExtentsAhead);
    changed = true;
  }
  if (!changed) return {};
  for (uint64_t extent = first; extent < last; extent++) extent_words()[extent / 64] |= uint64_t{1} << (extent % 64);
  return sync_bytes(extents_offset_ + first / 8, (last - 1) / 8 - first / 8 + 1);
}

void DirtyMap::set_bits(uint64_t first, uint64_t end) noexcept {
  for (uint64_t block = first; block < end;) {
    const uint64_t stop = std::min(end, (block / 64 + 1) * 64);
    const uint64_t count = stop - block;
    block_words()[block / 64] |= (count == 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1) << (block % 64);
    block = stop;
  }
}

void DirtyMap::clear(uint64_t first, uint64_t end) noexcept {
  const std::lock_guard lock(mutex_);
  for (uint64_t block = first; block < std::min(end, blocks_); block++) block_words()[block / 64] &= ~(uint64_t{1} << (block % 64));
}

void DirtyMap::mark_all() noexcept {
  const std::lock_guard lock(mutex_);
  for (uint64_t extent = 0; extent < extents_; extent++) extent_words()[extent / 64] |= uint64_t{1} << (extent % 64);
  set_bits(0, blocks_);
}

Status DirtyMap::merge(std::span<const uint8_t> bits) noexcept {
  if (bits.size() != (blocks_ + 63) / 64 * 8) return {EINVAL, "the dirty map of a disk of another size"};
  const std::lock_guard lock(mutex_);
  for (uint64_t word = 0; word < bits.size() / 8; word++) {
    uint64_t other;
    std::memcpy(&other, bits.data() + word * 8, 8);
    if ((word + 1) * 64 > blocks_) other &= (uint64_t{1} << (blocks_ % 64)) - 1;
    block_words()[word] |= other;
  }
  // What the other side brings must outlive a power cut here too.
  for (uint64_t extent = 0; extent < extents_; extent++) {
    if (extent_dirty(extent)) extent_words()[extent / 64] |= uint64_t{1} << (extent % 64);
  }
  return file_.sync();
}

std::vector<uint8_t> DirtyMap::bits() noexcept {
  const std::lock_guard lock(mutex_);
  const auto* begin = reinterpret_cast<const uint8_t*>(block_words());
  return {begin, begin + (blocks_ + 63) / 64 * 8};
}

bool DirtyMap::next(uint64_t from, uint64_t& first, uint64_t& end) noexcept {
  const std::lock_guard lock(mutex_);
  const auto is_set = [this](uint64_t block) { return (block_words()[block / 64] >> (block % 64) & 1) != 0; };
  first = from;
  while (first < blocks_ && !is_set(first)) first += first % 64 == 0 && block_words()[first / 64] == 0 ? 64 : 1;
  if (first >= blocks_) return false;
  end = first;
  while (end < blocks_ && is_set(end)) end++;
  return true;
}

uint64_t DirtyMap::count() noexcept {
  const std::lock_guard lock(mutex_);
  uint64_t count = 0;
  for (uint64_t word = 0; word < (blocks_ + 63) / 64; word++) count += static_cast<uint64_t>(std::popcount(block_words()[word]));
  return count;
}

bool DirtyMap::extent_dirty(uint64_t extent) const noexcept {
  const uint64_t first = extent * kExtentBytes / block_bytes_;
  const uint64_t end = std::min(blocks_, first + std::max<uint64_t>(1, kExtentBytes / block_bytes_));
  for (uint64_t block = first; block < end; block++) {
    if ((block_words()[block / 64] >> (block % 64) & 1) != 0) return true;
  }
  return false;
}

void DirtyMap::begin_rest() noexcept {
  const std::lock_guard lock(mutex_);
  for (uint8_t& rested : rested_) rested = std::min<uint8_t>(kSettled, rested + 1);
}

void DirtyMap::end_rest() noexcept {
  const std::lock_guard lock(mutex_);
  for (uint64_t extent = 0; extent < extents_; extent++) {
    if (rested_[extent] < kSettled || extent_dirty(extent)) continue;
    extent_words()[extent / 64] &= ~(uint64_t{1} << (extent % 64));
  }
}

std::string DirtyMap::pair() noexcept {
  const std::lock_guard lock(mutex_);
  return {header().pair, strnlen(header().pair, kPairBytes)};
}

Status DirtyMap::set_pair(const std::string& pair) noexcept {
  if (pair.size() > kPairBytes) return {ENAMETOOLONG, "too long a name for a pair of disks"};
  const std::lock_guard lock(mutex_);
  std::memset(header().pair, 0, kPairBytes);
  std::memcpy(header().pair, pair.data(), pair.size());
  return sync_bytes(0, kPage);
}

Status DirtyMap::sync_bytes(uint64_t offset, uint64_t bytes) noexcept {
  const uint64_t first = offset / kPage * kPage;
  if (msync(file_.data() + first, offset + bytes - first, MS_SYNC) < 0) return {errno, "cannot make the dirty map durable"};
  return {};
}

}  // namespace romulus::disk
