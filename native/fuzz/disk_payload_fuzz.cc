/** A payload of disk changes: whatever its bytes, every record given out lies within the disk and within the payload. */
#include <cstdlib>
#include <vector>

#include "../disk/disk_payload.h"

using namespace romulus::disk;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr uint64_t kDisk = 1 << 20;
  // An exact copy, so that the sanitizer sees reads beyond the end.
  const std::vector<uint8_t> copy(data, data + size);
  data = copy.data();
  RecordReader records({data, size}, kDisk);
  Record record;
  std::span<const uint8_t> bytes;
  uint64_t seen = 0;
  while (records.next(record, bytes)) {
    if (record.bytes == 0 || record.offset + record.bytes > kDisk) std::abort();
    if (record.op == Op::kData && bytes.size() != record.bytes) std::abort();
    if (!bytes.empty() && (bytes.data() < data || bytes.data() + bytes.size() > data + size)) std::abort();
    seen += kRecordBytes + bytes.size();
  }
  if (seen > size || (records.ok() && seen != size)) std::abort();
  return 0;
}
