/** Fills one slab after another with pages; each thread of an encode has one. */
#pragma once

#include <cstdint>
#include <vector>

#include "encoder.h"
#include "kernels.h"
#include "payload.h"
#include "slabs.h"

namespace romulus {

class ChunkWriter {
 public:
  /** Scratch memory that a writer needs for slabs of this size. */
  static constexpr uint64_t scratch_bytes(uint64_t slab_bytes) noexcept {
    return 2 * (slab_bytes + kMaxPageMaskBytes + kStoreSlackBytes);
  }

  ChunkWriter(SlabPool& slabs, uint8_t* scratch) noexcept
      : slabs_(slabs), masks_(scratch), head_(scratch + scratch_bytes(slabs.payload_bytes()) / 2) {}

  /** Makes sure that any page fits, with a new slab if need be; false when there is none. */
  bool make_room(std::vector<Chunk>& done) noexcept;

  /** Where a kernel writes a page's data and masks: their final order, if it becomes a delta. */
  uint8_t* data() const noexcept { return payload_ + kPayloadHeaderBytes + data_bytes_; }
  uint8_t* masks() const noexcept { return masks_ + mask_bytes_; }

  /**
   * Adds the page just compared, in the form that is smallest. `base_page` holds the page as it was encoded; `is_unknown`
   * says that it was compared with zeros, and not with what the backup has. Pages ascend; once they may start again from below.
   */
  void add(uint64_t page, const PageDelta& delta, const uint8_t* base_page, bool is_unknown, EncodeCounts& counts) noexcept;

  /** Completes the open chunk, or gives its slab back if it names no page. */
  void close(std::vector<Chunk>& done) noexcept;

 private:
  /** Brings the checksum up to the data written so far: while that lies in the nearest cache it costs least. */
  void checksum_data() noexcept;
  Form choose(const PageDelta& delta, bool is_unknown) const noexcept;

  SlabPool& slabs_;
  uint8_t* const masks_;
  uint8_t* const head_;
  uint32_t slab_ = SlabPool::kNone;
  uint8_t* payload_ = nullptr;
  uint64_t data_bytes_ = 0;
  uint64_t mask_bytes_ = 0;
  uint64_t head_bytes_ = 0;
  /** Checksum of the first `summed_bytes_` of the data. */
  uint32_t data_crc_ = 0;
  uint64_t summed_bytes_ = 0;
  uint32_t pages_ = 0;
  uint64_t next_page_ = 0;
};

}  // namespace romulus
