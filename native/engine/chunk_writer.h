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
  /** `head` is scratch for the head stream, as long as a slab's payload. */
  ChunkWriter(SlabPool& slabs, uint8_t* head) noexcept : slabs_(slabs), head_(head) {}

  /** Makes sure that any page fits, with a new slab if need be; false when there is none. */
  bool make_room(std::vector<Chunk>& done) noexcept;

  /** Where a kernel writes the words of `page`, and its word masks: their final places, if it becomes a delta. */
  uint8_t* data() const noexcept { return payload_ + kPayloadHeaderBytes + data_bytes_; }
  uint8_t* word_masks(uint64_t page) const noexcept {
    return head_ + head_bytes_ + page_number_bytes(page - next_page_) + sizeof(uint64_t);
  }

  /** Adds the page just compared, in the form that is smallest. */
  void add(uint64_t page, const PageDelta& delta, const uint8_t* shadow_page, EncodeCounts& counts) noexcept;

  /** Completes the open chunk, or gives its slab back if it names no page. */
  void close(std::vector<Chunk>& done) noexcept;

 private:
  SlabPool& slabs_;
  uint8_t* const head_;
  uint32_t slab_ = SlabPool::kNone;
  uint8_t* payload_ = nullptr;
  uint64_t data_bytes_ = 0;
  uint64_t head_bytes_ = 0;
  uint32_t pages_ = 0;
  uint64_t next_page_ = 0;
};

}  // namespace romulus
