/** Data goes straight to its place in the slab; the small head stream is gathered aside and follows at the end. */
#include "chunk_writer.h"

#include <cstring>

#include "bits.h"
#include "crc32c.h"

namespace romulus {

bool ChunkWriter::make_room(std::vector<Chunk>& done) noexcept {
  if (slab_ != SlabPool::kNone) {
    const uint64_t most = kPayloadHeaderBytes + data_bytes_ + head_bytes_ + kPageBytes + kMaxPageHeadBytes;
    if (most <= slabs_.payload_bytes()) return true;
    close(done);
  }
  slab_ = slabs_.take();
  if (slab_ == SlabPool::kNone) return false;
  payload_ = slabs_.payload(slab_);
  return true;
}

void ChunkWriter::add(uint64_t page, const PageDelta& delta, const uint8_t* shadow_page, EncodeCounts& counts) noexcept {
  const uint64_t lines = popcount64(delta.line_mask);
  if (lines == 0) {
    counts.unchanged_pages++;
    return;
  }
  const uint64_t delta_bytes = delta.words * kWordBytes;
  Form form = Form::delta;
  if (delta.zero) {
    form = Form::zero;
    counts.zero_pages++;
  } else if (8 + lines + delta_bytes >= kPageBytes) {
    form = Form::whole;
    counts.whole_pages++;
  } else {
    counts.delta_pages++;
  }
  counts.changed_words += delta.words;
  counts.digest_change += delta.digest_change;

  head_bytes_ += write_page_number(head_ + head_bytes_, page - next_page_, form);
  if (form == Form::delta) {
    store_le(head_ + head_bytes_, delta.line_mask);  // the word masks behind it are in place
    head_bytes_ += sizeof(uint64_t) + lines;
    data_bytes_ += delta_bytes;
  } else if (form == Form::whole) {
    // If every word changed, the page lies there already. Else it comes from the shadow, not from the guest, who may have
    // changed it again: the shadow is what the digest speaks of.
    if (delta.words < kPageBytes / kWordBytes) std::memcpy(data(), shadow_page, kPageBytes);
    data_bytes_ += kPageBytes;
  }
  next_page_ = page + 1;
  pages_++;
}

void ChunkWriter::close(std::vector<Chunk>& done) noexcept {
  if (slab_ == SlabPool::kNone) return;
  if (pages_ == 0) {
    slabs_.release(slab_);
  } else {
    const PayloadHeader header = {kPayloadMagic, pages_, static_cast<uint32_t>(data_bytes_),
                                  static_cast<uint32_t>(head_bytes_)};
    std::memcpy(payload_, &header, sizeof header);
    std::memcpy(data(), head_, head_bytes_);
    const uint64_t bytes = kPayloadHeaderBytes + data_bytes_ + head_bytes_;
    done.push_back({slab_, static_cast<uint32_t>(bytes), crc32c({payload_, bytes}), pages_});
  }
  slab_ = SlabPool::kNone;
  data_bytes_ = 0;
  head_bytes_ = 0;
  pages_ = 0;
  next_page_ = 0;
}

}  // namespace romulus
