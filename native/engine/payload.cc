/** Reading payloads from strangers: every length and number is checked before it is used. */
#include "payload.h"

#include <cerrno>
#include <cstring>

#include "bits.h"
#include "copies.h"

namespace romulus {
namespace {

uint64_t left_between(const uint8_t* from, const uint8_t* end) noexcept { return static_cast<uint64_t>(end - from); }

/** Whether one of the lowest `count` bytes (1 to 8) is zero. */
bool has_zero_byte(uint64_t bytes, uint32_t count) noexcept {
  if (count < 8) bytes |= ~uint64_t{0} << (8 * count);
  return ((bytes - 0x0101010101010101u) & ~bytes & 0x8080808080808080u) != 0;
}

}  // namespace

Status PayloadReader::open(std::span<const uint8_t> payload, uint64_t pages) noexcept {
  if (payload.size() > kMaxPayloadBytes) return {EBADMSG, "payload is longer than the limit"};
  if (payload.size() < kPayloadHeaderBytes) return {EBADMSG, "payload is shorter than its header"};
  std::memcpy(&header_, payload.data(), sizeof header_);
  if (header_.magic != kPayloadMagic) return {EBADMSG, "payload has another format or version"};
  if (kPayloadHeaderBytes + uint64_t{header_.data_bytes} + header_.mask_bytes + header_.head_bytes != payload.size()) {
    return {EBADMSG, "payload length differs from its header"};
  }
  data_ = payload.data() + kPayloadHeaderBytes;
  data_end_ = data_ + header_.data_bytes;
  masks_ = data_end_;
  masks_end_ = masks_ + header_.mask_bytes;
  head_ = masks_end_;
  head_end_ = head_ + header_.head_bytes;
  limit_ = pages;
  next_page_ = 0;
  seen_ = 0;
  has_restarted_ = false;
  return {};
}

bool PayloadReader::read_number(uint64_t& value) noexcept {
  value = 0;
  for (uint64_t i = 0; i < kMaxVarintBytes && head_ < head_end_; i++) {
    const uint8_t byte = *head_++;
    value |= uint64_t{byte & 0x7fu} << (7 * i);
    if (byte < 0x80) return byte != 0 || i == 0;  // a padded number has a second spelling: refused
  }
  return false;
}

bool PayloadReader::read_lines(DeltaView& delta) noexcept {
  if (head_ == head_end_) return false;
  uint32_t groups = *head_++;
  if (groups == 0 || left_between(head_, head_end_) < popcount64(groups)) return false;
  delta.line_mask = 0;
  for (; groups != 0; groups &= groups - 1) {
    if (*head_ == 0) return false;
    delta.line_mask |= uint64_t{*head_++} << (8 * lowest_bit(groups));
  }
  const uint32_t lines = popcount64(delta.line_mask);
  const uint32_t bytes = (lines + 3) / 4;
  if (left_between(head_, head_end_) < bytes) return false;
  delta.kinds = head_;
  head_ += bytes;
  const bool has_stray_bits = lines % 4 != 0 && head_[-1] >> (2 * (lines % 4)) != 0;
  return !has_stray_bits;
}

bool PayloadReader::read_masks(const DeltaView& delta, uint64_t& data_bytes) noexcept {
  const uint32_t lines = popcount64(delta.line_mask);
  for (uint32_t i = 0; i < lines; i++) {
    const uint32_t kind = kind_of(delta.kinds, i);
    if (left_between(masks_, masks_end_) < 1 + (kind & 1)) return false;
    const uint32_t words = *masks_++;
    if (words == 0) return false;
    uint32_t kept = words;
    if ((kind & 1) != 0) {
      const uint32_t repeats = *masks_++;
      const bool is_needless = kind == static_cast<uint32_t>(LineKind::repeats) && repeats == 0;
      if ((repeats & ~words) != 0 || is_needless) return false;
      kept &= ~repeats;
    }
    const uint32_t count = popcount64(kept);
    if ((kind & 2) == 0) {
      data_bytes += count * kWordBytes;
      continue;
    }
    if (left_between(masks_, masks_end_) < count) return false;
    if (count == 0) continue;
    uint64_t bytes = load_up_to_8(masks_, masks_end_);
    if (count < 8) bytes &= (uint64_t{1} << (8 * count)) - 1;
    if (kind == static_cast<uint32_t>(LineKind::bytes) && has_zero_byte(bytes, count)) return false;
    masks_ += count;
    data_bytes += popcount64(bytes);
  }
  return true;
}

PayloadReader::Step PayloadReader::next(PageRecord& record) noexcept {
  if (seen_ == header_.pages) {
    const bool is_used_up = head_ == head_end_ && masks_ == masks_end_ && data_ == data_end_;
    return is_used_up ? Step::end : Step::malformed;
  }
  uint64_t number;
  if (!read_number(number)) return Step::malformed;
  const uint64_t gap = number >> 2;
  uint64_t page = next_page_ + gap;
  if (page >= kMaxPages) {
    if (gap >= kMaxPages || has_restarted_) return Step::malformed;
    page -= kMaxPages;
    has_restarted_ = true;
  }
  if (page >= limit_) return Step::malformed;
  record = {page, static_cast<Form>(number & 3), {0, nullptr, masks_, data_, head_end_}};

  uint64_t data_bytes = 0;
  if (record.form == Form::whole) data_bytes = kPageBytes;
  if (record.form == Form::delta || record.form == Form::fresh) {
    if (!read_lines(record.delta) || !read_masks(record.delta, data_bytes)) return Step::malformed;
  }
  if (left_between(data_, data_end_) < data_bytes) return Step::malformed;
  data_ += data_bytes;
  next_page_ = page + 1;
  seen_++;
  return Step::page;
}

Status split_chunk(std::span<const uint8_t> chunk, std::vector<std::span<const uint8_t>>& payloads) noexcept {
  // A copies payload has its magic, count and three lengths in the same places.
  static_assert(sizeof(CopiesHeader) == sizeof(PayloadHeader));
  if (chunk.size() > kMaxPayloadBytes) return {EBADMSG, "chunk is longer than the limit"};
  for (size_t count = 0; count == 0 || !chunk.empty(); count++) {
    if (count == kMaxPayloadsPerChunk) return {EBADMSG, "chunk has too many payloads"};
    PayloadHeader header;
    if (chunk.size() < sizeof header) return {EBADMSG, "payload is shorter than its header"};
    std::memcpy(&header, chunk.data(), sizeof header);
    const uint64_t bytes = kPayloadHeaderBytes + uint64_t{header.data_bytes} + header.mask_bytes + header.head_bytes;
    if (bytes > chunk.size()) return {EBADMSG, "payload length differs from its header"};
    payloads.push_back(chunk.first(bytes));
    chunk = chunk.subspan(bytes);
  }
  return {};
}

Status check_chunk(std::span<const uint8_t> chunk, uint64_t pages, uint64_t& pages_named) noexcept {
  std::vector<std::span<const uint8_t>> payloads;
  if (Status status = split_chunk(chunk, payloads); !status.ok()) return status;
  uint64_t sum = 0;
  for (const auto payload : payloads) {
    uint64_t named = 0;
    if (Status status = check_payload(payload, pages, named); !status.ok()) return status;
    sum += named;
  }
  pages_named = sum;
  return {};
}

Status check_payload(std::span<const uint8_t> payload, uint64_t pages, uint64_t& pages_named) noexcept {
  if (is_copies(payload)) {
    std::vector<CopyRun> runs;
    if (Status status = read_copies(payload, pages, runs); !status.ok()) return status;
    pages_named = target_pages(runs).size();
    return {};
  }
  PayloadReader reader;
  if (Status status = reader.open(payload, pages); !status.ok()) return status;
  PageRecord record;
  PayloadReader::Step step;
  do step = reader.next(record);
  while (step == PayloadReader::Step::page);
  if (step == PayloadReader::Step::malformed) return {EBADMSG, "payload is malformed"};
  pages_named = reader.pages();
  return {};
}

}  // namespace romulus
