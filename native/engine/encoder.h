/** Turns the dirty pages of an epoch into chunks: scan, compare with the shadow, encode, in parallel. */
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "bitmap.h"
#include "content_index.h"
#include "copies.h"
#include "delta.h"
#include "extents.h"
#include "mapping.h"
#include "shadow.h"
#include "slabs.h"
#include "status.h"

namespace romulus {

struct Chunk {
  uint32_t slab;
  uint32_t payload_bytes;
  uint32_t crc32c;
  uint32_t pages;
};

struct EncodeCounts {
  uint64_t unchanged_pages = 0;
  uint64_t zero_pages = 0;
  uint64_t whole_pages = 0;
  uint64_t delta_pages = 0;
  uint64_t changed_words = 0;
  uint64_t digest_change = 0;
};

/** What looking for copies found and took. */
struct CopyCounts {
  uint64_t runs = 0;
  /** Pages with runs, and their words that would have been sent without. */
  uint64_t pages = 0;
  uint64_t words = 0;
  /** Time of all threads together. */
  uint64_t ns = 0;
};

struct EncodeOutcome {
  std::vector<Chunk> chunks;
  /** False when slabs ran out; the pages left are set in the bitmap again. */
  bool complete = true;
  uint64_t dirty_pages = 0;
  EncodeCounts counts;
  CopyCounts copies;
  uint64_t payload_bytes = 0;
  uint64_t scan_ns = 0;
  uint64_t encode_ns = 0;
};

class Encoder {
 public:
  /** Payload room of a slab. A smaller one could not hold a page and its head many times over. */
  static constexpr uint64_t kMinSlabBytes = 16 * 1024;
  static constexpr uint32_t kMaxSlabs = 65536;

  /** `shadow` has the size of `memory` or less (shadow.h), whole pages both; they outlive the encoder's calls. */
  Encoder(const Mapping& memory, const Mapping& shadow, uint32_t threads, SlabPool& slabs) noexcept;
  Status prepare() noexcept;

  /**
   * Encodes the pages set in `dirty`, clears their bits and updates the shadow. The guest may run meanwhile: what is sent,
   * the shadow and the digest agree in any case. One call at a time. With `copies`, what the shadow has elsewhere is sent as copies
   * (FORMAT.md): all chunks until `complete` are then one epoch, applied together.
   */
  Status encode(Bitmap& dirty, Grain grain, EncodeOutcome& outcome, bool copies = false) noexcept;

  /**
   * Notes where content stands that encode() has not seen while it looked for copies: of a full shadow some `pages` pages more at
   * each call; false once all were looked at. No other call meanwhile.
   */
  bool note_shadow(uint64_t pages) noexcept;

  uint64_t digest() const noexcept { return digest_.load(std::memory_order_relaxed); }
  /** Of the index that copies are found by; 0 until it was first needed. */
  uint64_t index_bytes() const noexcept { return index_.bytes(); }
  void reset_digest(uint64_t digest) noexcept { digest_.store(digest, std::memory_order_relaxed); }

 private:
  struct Epoch;
  uint8_t* zeros(uint32_t slot) const noexcept;
  uint8_t* writer_scratch(uint32_t slot) const noexcept;
  uint8_t* source_of(uint64_t page) const noexcept { return memory_.data() + page * kPageBytes; }

  void encode_slot(Epoch& epoch, uint32_t slot) noexcept;
  void encode_with_copies(Epoch& epoch, EncodeOutcome& outcome) noexcept;
  void encode_light(Epoch& epoch, uint32_t slot) noexcept;
  void encode_heavy(Epoch& epoch, uint32_t slot, bool copies) noexcept;
  /** Puts the copies payload behind the last payload, if its slab has room: compressed by itself a small one loses. */
  void add_copies(std::vector<Chunk>& chunks, std::span<const CopyRun> runs, uint32_t slab) noexcept;
  /** Notes where the lines of a page stand that changed, and the first time, less densely, all others. */
  void note(uint64_t page, const uint8_t* content, uint64_t line_mask, Anchors& room) noexcept;
  uint64_t lay_over(uint64_t page, uint8_t* base, std::span<const CopyRun> runs) noexcept;

  const Mapping& memory_;
  const Mapping& copies_;
  Shadow shadow_;
  const uint32_t threads_;
  SlabPool& slabs_;
  std::atomic<uint64_t> digest_{0};
  /** Words of the running epoch's bitmap that have bits set; room for all of them, given memory on first touch. */
  Mapping words_;
  /** For each thread a page of zeros, and what its chunk writer needs. */
  Mapping scratch_;
  ContentIndex index_;
  /** Parts of the shadow that were written before note_shadow() began, and the next of them that it looks at. */
  std::vector<Extent> written_;
  size_t next_written_ = 0;
  /** An earlier call of the running epoch wrote a copies payload: there is one at most. */
  bool has_copies_ = false;
};

}  // namespace romulus
