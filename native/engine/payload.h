/** The payload format (FORMAT.md): its constants, and a reader that trusts no byte of it. */
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "delta.h"
#include "page.h"
#include "status.h"

namespace romulus {

/** "RDP2": Romulus delta pages, version 2. */
inline constexpr uint32_t kPayloadMagic = 0x32504452;
inline constexpr uint64_t kPayloadHeaderBytes = 20;
/** Longest number of a page head: 31 bits of gap, 2 of form, in groups of 7. */
inline constexpr uint64_t kMaxVarintBytes = 5;
inline constexpr uint64_t kMaxPageHeadBytes = kMaxVarintBytes + kMaxLineSetBytes + kMaxKindBytes;
/** No payload is longer; a receiver checks this before it allocates. */
inline constexpr uint64_t kMaxPayloadBytes = 2 * 1024 * 1024;

enum class Form : uint8_t {
  /** Against the page as it was. */
  delta = 0,
  zero = 1,
  whole = 2,
  /** Against a page of zeros, whatever it was. */
  fresh = 3,
};

/** Header as it lies at the start of a payload, little endian. */
struct PayloadHeader {
  uint32_t magic;
  uint32_t pages;
  uint32_t data_bytes;
  uint32_t mask_bytes;
  uint32_t head_bytes;
};
static_assert(sizeof(PayloadHeader) == kPayloadHeaderBytes);

/** One page as the reader found it; pointers lead into the payload. */
struct PageRecord {
  uint64_t page;
  Form form;
  /** For delta and fresh; `data` holds the page's bytes when whole. */
  DeltaView delta;
};

class PayloadReader {
 public:
  enum class Step { page, end, malformed };

  /** EBADMSG unless header and lengths agree. `pages`: of the image; page numbers stay below it. */
  Status open(std::span<const uint8_t> payload, uint64_t pages) noexcept;
  /** Gives the next page, fully checked: `record`'s pointers cover all that its masks name. */
  Step next(PageRecord& record) noexcept;

  uint32_t pages() const noexcept { return header_.pages; }

 private:
  bool read_number(uint64_t& value) noexcept;
  /** The changed lines, and where their kinds lie. */
  bool read_lines(DeltaView& delta) noexcept;
  /** Goes over the masks of a page; adds up the data they name. */
  bool read_masks(const DeltaView& delta, uint64_t& data_bytes) noexcept;

  PayloadHeader header_ = {};
  const uint8_t* head_ = nullptr;
  const uint8_t* head_end_ = nullptr;
  const uint8_t* masks_ = nullptr;
  const uint8_t* masks_end_ = nullptr;
  const uint8_t* data_ = nullptr;
  const uint8_t* data_end_ = nullptr;
  uint64_t limit_ = 0;
  uint64_t next_page_ = 0;
  uint32_t seen_ = 0;
  /** Page numbers started again from below. */
  bool has_restarted_ = false;
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

/** Writes which lines changed: groups of eight, then the lines of each; returns the bytes, at most kMaxLineSetBytes. */
inline uint64_t write_line_set(uint8_t* to, uint64_t line_mask) noexcept {
  uint64_t length = 1;
  uint8_t groups = 0;
  for (uint32_t g = 0; g < 8; g++) {
    const auto lines = static_cast<uint8_t>(line_mask >> (8 * g));
    to[length] = lines;
    length += lines != 0;
    groups |= static_cast<uint8_t>((lines != 0) << g);
  }
  to[0] = groups;
  return length;
}

/** A chunk has one payload or a few back to back, each as long as its header says, so that they are compressed as one. */
inline constexpr size_t kMaxPayloadsPerChunk = 16;

/** Adds a chunk's payloads to `payloads`; EBADMSG unless their headers' lengths add up to it. */
Status split_chunk(std::span<const uint8_t> chunk, std::vector<std::span<const uint8_t>>& payloads) noexcept;

/** Reads all of a chunk, copies included, and touches nothing; on success `pages_named` is how often its payloads name a page. */
Status check_chunk(std::span<const uint8_t> chunk, uint64_t pages, uint64_t& pages_named) noexcept;
/** The same of a single payload. */
Status check_payload(std::span<const uint8_t> payload, uint64_t pages, uint64_t& pages_named) noexcept;

}  // namespace romulus
