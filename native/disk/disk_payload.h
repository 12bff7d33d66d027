/**
 * The payload of a chunk of disk changes: records one after the other, each a head and, for data, the bytes. Absolute
 * content, so that applying one twice does no harm; the records of one epoch name disjoint ranges.
 *
 *     0        8         16      20        24
 *     +--------+---------+-------+---------+--------------------+
 *     | offset | length  | op    | 0       | length bytes (data)|      little endian
 *     +--------+---------+-------+---------+--------------------+
 */
#pragma once

#include <cstdint>
#include <span>

#include "../engine/status.h"
#include "disk_image.h"

namespace romulus::disk {

/** `kZero` keeps the space allocated, `kTrim` gives it back; both read as zeros afterwards. */
enum class Op : uint32_t { kData = 0, kZero = 1, kTrim = 2 };

struct Record {
  uint64_t offset = 0;
  uint64_t bytes = 0;
  Op op = Op::kData;
};

inline constexpr size_t kRecordBytes = 24;

/** Writes a head; `at` has room for it. */
void put_record(uint8_t* at, const Record& record) noexcept;

/** Walks over a payload's records. */
class RecordReader {
 public:
  RecordReader(std::span<const uint8_t> payload, uint64_t disk_bytes) noexcept : left_(payload), disk_bytes_(disk_bytes) {}

  /** The next record, and its bytes if it is data. False at the end, or at the first thing that cannot be: then !ok(). */
  bool next(Record& record, std::span<const uint8_t>& data) noexcept;
  bool ok() const noexcept { return ok_; }

 private:
  std::span<const uint8_t> left_;
  const uint64_t disk_bytes_;
  bool ok_ = true;
};

/** Writes a payload's records into the image. EBADMSG if it does not decode; check it before, since half may be written then. */
Status apply_payload(std::span<const uint8_t> payload, Image& image) noexcept;

}  // namespace romulus::disk
