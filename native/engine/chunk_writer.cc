/** Data goes straight to its place in the slab; the small streams are gathered aside and follow at the end. */
#include "chunk_writer.h"

#include <cstring>

#include "bits.h"
#include "crc32c.h"

namespace romulus {
namespace {

/** Data is checksummed in pieces of about this: long enough for the wide form, and still in the nearest cache. */
constexpr uint64_t kChecksumBytes = 8192;

}  // namespace

bool ChunkWriter::make_room(std::vector<Chunk>& done) noexcept {
  if (slab_ != SlabPool::kNone) {
    // A delta takes less than a whole page does, or the page is sent whole.
    const uint64_t most = kPayloadHeaderBytes + data_bytes_ + mask_bytes_ + head_bytes_ + kPageBytes + kMaxVarintBytes;
    if (most <= slabs_.payload_bytes()) return true;
    close(done);
  }
  slab_ = slabs_.take();
  if (slab_ == SlabPool::kNone) return false;
  payload_ = slabs_.payload(slab_);
  return true;
}

Form ChunkWriter::choose(const PageDelta& delta, bool is_unknown) const noexcept {
  if (delta.zero || delta.line_mask == 0) return Form::zero;
  const uint64_t lines = popcount64(delta.line_mask);
  // Counted as if all groups were named: what it saves to count them is not worth it.
  const uint64_t delta_bytes = kMaxLineSetBytes + (lines + 3) / 4 + delta.mask_bytes + delta.data_bytes;
  if (delta_bytes >= kPageBytes) return Form::whole;
  return is_unknown ? Form::fresh : Form::delta;
}

void ChunkWriter::add(uint64_t page, const PageDelta& delta, const uint8_t* base_page, bool is_unknown,
                      EncodeCounts& counts) noexcept {
  if (delta.line_mask == 0 && !is_unknown) {
    counts.unchanged_pages++;
    return;
  }
  const Form form = choose(delta, is_unknown);
  counts.zero_pages += form == Form::zero;
  counts.whole_pages += form == Form::whole;
  counts.delta_pages += form == Form::delta || form == Form::fresh;
  counts.changed_words += delta.words;

  head_bytes_ += write_page_number(head_ + head_bytes_, (page - next_page_) % kMaxPages, form);
  if (form == Form::delta || form == Form::fresh) {  // data and masks are in place
    head_bytes_ += write_line_set(head_ + head_bytes_, delta.line_mask);
    std::memcpy(head_ + head_bytes_, delta.kinds, kMaxKindBytes);
    head_bytes_ += (popcount64(delta.line_mask) + 3) / 4;
    data_bytes_ += delta.data_bytes;
    mask_bytes_ += delta.mask_bytes;
  } else if (form == Form::whole) {
    // If every word was written, the page lies there already. Else it comes from the shadow, not from the guest, who may
    // have changed it again: the shadow is what the digest speaks of.
    if (delta.data_bytes < kPageBytes) std::memcpy(data(), base_page, kPageBytes);
    data_bytes_ += kPageBytes;
  }
  next_page_ = page + 1;
  pages_++;
  if (data_bytes_ - summed_bytes_ >= kChecksumBytes) checksum_data();
}

void ChunkWriter::checksum_data() noexcept {
  const uint8_t* const from = payload_ + kPayloadHeaderBytes + summed_bytes_;
  data_crc_ = crc32c_append(data_crc_, {from, data_bytes_ - summed_bytes_});
  summed_bytes_ = data_bytes_;
}

void ChunkWriter::close(std::vector<Chunk>& done) noexcept {
  if (slab_ == SlabPool::kNone) return;
  if (pages_ == 0) {
    slabs_.release(slab_);
  } else {
    const PayloadHeader header = {kPayloadMagic, pages_, static_cast<uint32_t>(data_bytes_),
                                  static_cast<uint32_t>(mask_bytes_), static_cast<uint32_t>(head_bytes_)};
    std::memcpy(payload_, &header, sizeof header);
    std::memcpy(data(), masks_, mask_bytes_);
    std::memcpy(data() + mask_bytes_, head_, head_bytes_);
    checksum_data();
    const uint32_t crc = crc32c_append(data_crc_, {data(), mask_bytes_ + head_bytes_});
    const auto body_bytes = static_cast<uint32_t>(data_bytes_ + mask_bytes_ + head_bytes_);
    const uint32_t whole_crc = crc32c_join(crc32c({payload_, kPayloadHeaderBytes}), crc, body_bytes);
    done.push_back({slab_, static_cast<uint32_t>(kPayloadHeaderBytes) + body_bytes, whole_crc, pages_});
  }
  slab_ = SlabPool::kNone;
  data_bytes_ = 0;
  mask_bytes_ = 0;
  head_bytes_ = 0;
  pages_ = 0;
  next_page_ = 0;
  data_crc_ = 0;
  summed_bytes_ = 0;
}

}  // namespace romulus
