/** The payload format (FORMAT.md): its constants, and a reader that trusts no byte of it. */
#pragma once

#include <cstdint>
#include <span>

#include "page.h"
#include "status.h"

namespace romulus {

/** "RDP1": Romulus delta pages, version 1. */
inline constexpr uint32_t kPayloadMagic = 0x31504452;
inline constexpr uint64_t kPayloadHeaderBytes = 16;
/** Longest number of a page head: 31 bits of gap, 2 of form, in groups of 7. */
inline constexpr uint64_t kMaxVarintBytes = 5;
inline constexpr uint64_t kMaxPageHeadBytes = kMaxVarintBytes + 8 + kLinesPerPage;
/** No payload is longer; a receiver checks this before it allocates. */
inline constexpr uint64_t kMaxPayloadBytes = 2 * 1024 * 1024;

enum class Form : uint8_t { delta = 0, zero = 1, whole = 2 };

/** Header as it lies at the start of a payload, little endian. */
struct PayloadHeader {
  uint32_t magic;
  uint32_t pages;
  uint32_t data_bytes;
  uint32_t head_bytes;
};
static_assert(sizeof(PayloadHeader) == kPayloadHeaderBytes);

/** One page as the reader found it; pointers lead into the payload. */
struct PageRecord {
  uint64_t page;
  Form form;
  uint64_t line_mask;
  const uint8_t* word_masks;
  const uint8_t* data;
};

class PayloadReader {
 public:
  enum class Step { page, end, malformed };

  /** EBADMSG unless header and lengths agree. `pages`: of the image; page numbers stay below it. */
  Status open(std::span<const uint8_t> payload, uint64_t pages) noexcept;
  /** Gives the next page, fully checked: `record`'s pointers cover all that its masks name. */
  Step next(PageRecord& record) noexcept;

  uint32_t pages() const noexcept { return header_.pages; }
  const uint8_t* data_end() const noexcept { return data_end_; }

 private:
  bool read_number(uint64_t& value) noexcept;
  /** Words the masks name; 0 if a mask is empty. */
  static uint64_t count_words(const uint8_t* masks, uint64_t lines) noexcept;

  PayloadHeader header_ = {};
  const uint8_t* head_ = nullptr;
  const uint8_t* head_end_ = nullptr;
  const uint8_t* data_ = nullptr;
  const uint8_t* data_end_ = nullptr;
  uint64_t limit_ = 0;
  uint64_t next_page_ = 0;
  uint32_t seen_ = 0;
};

/** Writes a page number gap and form; returns the bytes written, at most kMaxVarintBytes. */
inline uint64_t write_page_number(uint8_t* to, uint64_t gap, Form form) noexcept {
  uint64_t value = gap << 2 | static_cast<uint64_t>(form);
  uint64_t length = 0;
  while (value >= 0x80) {
    to[length++] = static_cast<uint8_t>(value | 0x80);
    value >>= 7;
  }
  to[length++] = static_cast<uint8_t>(value);
  return length;
}

/** Bytes that write_page_number takes for this gap, whatever the form. */
inline uint64_t page_number_bytes(uint64_t gap) noexcept {
  const uint64_t bits = 64 - static_cast<uint64_t>(__builtin_clzll(gap << 2 | 1));
  return (bits + 6) / 7;
}

/** Reads all of a payload and touches nothing; on success `pages_named` is its page count. */
Status check_payload(std::span<const uint8_t> payload, uint64_t pages, uint64_t& pages_named) noexcept;

}  // namespace romulus
