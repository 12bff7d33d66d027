/** Reading payloads from strangers: every length and number is checked before it is used. */
#include "payload.h"

#include <cerrno>
#include <cstring>

#include "bits.h"

namespace romulus {

Status PayloadReader::open(std::span<const uint8_t> payload, uint64_t pages) noexcept {
  if (payload.size() > kMaxPayloadBytes) return {EBADMSG, "payload is longer than the limit"};
  if (payload.size() < kPayloadHeaderBytes) return {EBADMSG, "payload is shorter than its header"};
  std::memcpy(&header_, payload.data(), sizeof header_);
  if (header_.magic != kPayloadMagic) return {EBADMSG, "payload has another format or version"};
  if (kPayloadHeaderBytes + uint64_t{header_.data_bytes} + header_.head_bytes != payload.size()) {
    return {EBADMSG, "payload length differs from its header"};
  }
  data_ = payload.data() + kPayloadHeaderBytes;
  data_end_ = data_ + header_.data_bytes;
  head_ = data_end_;
  head_end_ = head_ + header_.head_bytes;
  limit_ = pages;
  next_page_ = 0;
  seen_ = 0;
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

uint64_t PayloadReader::count_words(const uint8_t* masks, uint64_t lines) noexcept {
  uint64_t words = 0;
  uint64_t at = 0;
  for (; at + 8 <= lines; at += 8) {
    const uint64_t eight = load_le<uint64_t>(masks + at);
    const bool has_empty = ((eight - 0x0101010101010101u) & ~eight & 0x8080808080808080u) != 0;
    if (has_empty) return 0;
    words += popcount64(eight);
  }
  uint64_t rest = 0;
  for (; at < lines; at++) {
    if (masks[at] == 0) return 0;
    rest = rest << 8 | masks[at];
  }
  return words + popcount64(rest);
}

PayloadReader::Step PayloadReader::next(PageRecord& record) noexcept {
  if (seen_ == header_.pages) return head_ == head_end_ && data_ == data_end_ ? Step::end : Step::malformed;
  uint64_t number;
  if (!read_number(number)) return Step::malformed;
  const uint64_t page = next_page_ + (number >> 2);
  const uint64_t form = number & 3;
  if (page >= limit_ || form > static_cast<uint64_t>(Form::whole)) return Step::malformed;

  uint64_t data_bytes = 0;
  record = {page, static_cast<Form>(form), 0, nullptr, data_};
  if (record.form == Form::whole) data_bytes = kPageBytes;
  if (record.form == Form::delta) {
    if (head_end_ - head_ < 8) return Step::malformed;
    record.line_mask = load_le<uint64_t>(head_);
    head_ += 8;
    const uint64_t lines = popcount64(record.line_mask);
    if (static_cast<uint64_t>(head_end_ - head_) < lines) return Step::malformed;
    record.word_masks = head_;
    const uint64_t words = count_words(head_, lines);
    if (words == 0) return Step::malformed;
    head_ += lines;
    data_bytes = words * kWordBytes;
  }
  if (static_cast<uint64_t>(data_end_ - data_) < data_bytes) return Step::malformed;
  data_ += data_bytes;
  next_page_ = page + 1;
  seen_++;
  return Step::page;
}

Status check_payload(std::span<const uint8_t> payload, uint64_t pages, uint64_t& pages_named) noexcept {
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
