/** Turns the dirty pages of an epoch into chunks: scan, compare with the shadow, encode, in parallel. */
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "bitmap.h"
#include "delta.h"
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

struct EncodeOutcome {
  std::vector<Chunk> chunks;
  /** False when slabs ran out; the pages left are set in the bitmap again. */
  bool complete = true;
  uint64_t dirty_pages = 0;
  EncodeCounts counts;
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
   * the shadow and the digest agree in any case. One call at a time.
   */
  Status encode(Bitmap& dirty, Grain grain, EncodeOutcome& outcome) noexcept;

  uint64_t digest() const noexcept { return digest_.load(std::memory_order_relaxed); }
  void reset_digest(uint64_t digest) noexcept { digest_.store(digest, std::memory_order_relaxed); }

 private:
  struct Epoch;
  void encode_slot(Epoch& epoch, uint32_t slot) noexcept;

  const Mapping& memory_;
  const Mapping& copies_;
  Shadow shadow_;
  const uint32_t threads_;
  SlabPool& slabs_;
  std::atomic<uint64_t> digest_{0};
  /** Words of the running epoch's bitmap that have bits set; room for all of them, given memory on first touch. */
  Mapping words_;
  /** For each thread what its chunk writer needs, and a page of zeros. */
  Mapping scratch_;
};

}  // namespace romulus
