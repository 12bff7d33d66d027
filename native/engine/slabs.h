/** A bounded set of send buffers, made on first need and reused: encoded epochs cost no allocation and no garbage. */
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "kernels.h"
#include "mapping.h"
#include "payload.h"

namespace romulus {

class SlabPool {
 public:
  /** Bytes free in front of each payload. */
  static constexpr uint64_t kHeadroomBytes = 256;
  static constexpr uint32_t kNone = ~uint32_t{0};
  /** Puts the data behind a payload's header on the border of a line: whole pages are then stored a line at a time. */
  static constexpr uint64_t kLeadBytes = kLineBytes - (kHeadroomBytes + kPayloadHeaderBytes) % kLineBytes;

  SlabPool(uint64_t payload_bytes, uint32_t count);

  /** A free slab, the one used last first since it is warm; kNone if all are taken or memory is out. */
  uint32_t take() noexcept;
  /** False if the slab is not taken. */
  bool release(uint32_t slab) noexcept;
  uint32_t free_count() noexcept;

  uint64_t payload_bytes() const noexcept { return payload_bytes_; }
  uint32_t count() const noexcept { return static_cast<uint32_t>(slabs_.size()); }
  uint8_t* headroom(uint32_t slab) const noexcept { return slabs_[slab].memory.data() + kLeadBytes; }
  uint8_t* payload(uint32_t slab) const noexcept { return headroom(slab) + kHeadroomBytes; }

 private:
  struct Slab {
    Mapping memory;
    bool taken = false;
  };

  uint64_t payload_bytes_;
  std::mutex lock_;
  std::vector<Slab> slabs_;
  std::vector<uint32_t> free_;
};

}  // namespace romulus
