/** Every change goes the same way: marked, made, marked as made. */
#include "disk.h"

#include <cerrno>

namespace romulus::disk {

Status Disk::open(const char* image_path, const char* map_path, uint64_t create_bytes) noexcept {
  if (const Status status = image_.open(image_path, create_bytes); !status.ok()) return status;
  if (image_.bytes() > kMaxDiskBytes) return {EFBIG, "the disk is larger than 64 TiB"};
  if (const Status status = map_.open(map_path, image_.bytes()); !status.ok()) return status;
  return changes_.create();
}

template <typename Change>
Status Disk::change(uint64_t offset, uint64_t bytes, Op op, Change&& make) noexcept {
  if (!writable_) {
    refused_++;
    return {EPERM, "the disk is shut for writing"};
  }
  Changes::Ticket ticket;
  if (const Status status = changes_.begin(offset, bytes, ticket); !status.ok()) return status;
  const Status status = make();
  changes_.end(offset, bytes, status.ok() ? op : Op::kData, ticket);
  writes_++;
  written_bytes_ += bytes;
  return status;
}

Status Disk::read(uint64_t offset, std::span<uint8_t> to) noexcept {
  reads_++;
  read_bytes_ += to.size();
  return image_.read(offset, to);
}

bool Disk::read_cached(uint64_t offset, std::span<uint8_t> to) noexcept {
  if (!image_.read_cached(offset, to)) return false;
  reads_++;
  read_bytes_ += to.size();
  return true;
}

Status Disk::write(uint64_t offset, std::span<const uint8_t> from) noexcept {
  return change(offset, from.size(), Op::kData, [&] { return image_.write(offset, from); });
}

Status Disk::zero(uint64_t offset, uint64_t bytes, Op op) noexcept {
  return change(offset, bytes, op, [&] { return op == Op::kZero ? image_.zero(offset, bytes) : image_.trim(offset, bytes); });
}

Status Disk::flush() noexcept {
  flushes_++;
  return image_.flush();
}

Status Disk::expect(std::span<const uint8_t> payload) noexcept {
  RecordReader check(payload, image_.bytes());
  Record record;
  std::span<const uint8_t> data;
  while (check.next(record, data)) {}
  if (!check.ok()) return {EBADMSG, "malformed disk payload"};
  RecordReader records(payload, image_.bytes());
  while (records.next(record, data)) {
    if (const Status status = map_.mark(record.offset, record.bytes); !status.ok()) return status;
  }
  return {};
}

Status Disk::apply(std::span<const uint8_t> payload) noexcept { return apply_payload(payload, image_); }

void Disk::settle(std::span<const uint8_t> payload) noexcept {
  RecordReader records(payload, image_.bytes());
  Record record;
  std::span<const uint8_t> data;
  const uint64_t block = map_.block_bytes();
  while (records.next(record, data)) map_.clear(record.offset / block, (record.offset + record.bytes + block - 1) / block);
}

Status Disk::rest() noexcept {
  map_.begin_rest();
  if (const Status status = image_.flush(); !status.ok()) return status;
  map_.end_rest();
  return {};
}

DiskCounts Disk::counts() const noexcept {
  return {reads_, writes_, flushes_, read_bytes_, written_bytes_, refused_};
}

}  // namespace romulus::disk
