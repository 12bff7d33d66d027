/** Lengths are compared with what is left, never added up, so that no sum can overflow. */
#include "disk_payload.h"

#include <cerrno>
#include <cstring>

namespace romulus::disk {

void put_record(uint8_t* at, const Record& record) noexcept {
  const auto op = static_cast<uint32_t>(record.op);
  const uint32_t none = 0;
  std::memcpy(at, &record.offset, 8);
  std::memcpy(at + 8, &record.bytes, 8);
  std::memcpy(at + 16, &op, 4);
  std::memcpy(at + 20, &none, 4);
}

bool RecordReader::next(Record& record, std::span<const uint8_t>& data) noexcept {
  if (left_.empty() || !ok_) return false;
  ok_ = false;
  if (left_.size() < kRecordBytes) return false;
  uint32_t op;
  uint32_t none;
  std::memcpy(&record.offset, left_.data(), 8);
  std::memcpy(&record.bytes, left_.data() + 8, 8);
  std::memcpy(&op, left_.data() + 16, 4);
  std::memcpy(&none, left_.data() + 20, 4);
  if (op > static_cast<uint32_t>(Op::kTrim) || none != 0) return false;
  record.op = static_cast<Op>(op);
  if (record.bytes == 0 || record.offset >= disk_bytes_ || record.bytes > disk_bytes_ - record.offset) return false;
  left_ = left_.subspan(kRecordBytes);
  data = {};
  if (record.op == Op::kData) {
    if (record.bytes > left_.size()) return false;
    data = left_.first(static_cast<size_t>(record.bytes));
    left_ = left_.subspan(data.size());
  }
  ok_ = true;
  return true;
}

Status apply_payload(std::span<const uint8_t> payload, Image& image) noexcept {
  RecordReader records(payload, image.bytes());
  Record record;
  std::span<const uint8_t> data;
  while (records.next(record, data)) {
    Status status;
    if (record.op == Op::kData) status = image.write(record.offset, data);
    else if (record.op == Op::kZero) status = image.zero(record.offset, record.bytes);
    else status = image.trim(record.offset, record.bytes);
    if (!status.ok()) return status;
  }
  return records.ok() ? Status{} : Status{EBADMSG, "malformed disk payload"};
}

}  // namespace romulus::disk
