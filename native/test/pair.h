/** A guest, its shadow and the backup's image, and what guests do to their memory. */
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "../engine/apply.h"
#include "../engine/crc32c.h"
#include "../engine/encoder.h"
#include "check.h"
#include "random.h"

namespace romulus::test {

using Bytes = std::vector<uint8_t>;

inline std::vector<std::span<const uint8_t>> spans(const std::vector<Bytes>& chunks) {
  return {chunks.begin(), chunks.end()};
}

struct Pair {
  Mapping memory, shadow, image;
  Bitmap dirty;
  SlabPool slabs;
  Encoder encoder;
  uint64_t image_digest = 0;
  /** Of all epochs with copies. */
  uint64_t runs = 0;

  /** `copies`: pages of shadow; as many as the guest has unless given. */
  Pair(uint64_t pages, uint32_t threads, uint64_t slab_bytes, uint32_t max_slabs, uint64_t copies = ~uint64_t{0})
      : slabs(slab_bytes, max_slabs), encoder(memory, shadow, threads, slabs) {
    copies = std::min(copies, pages);
    CHECK(memory.anonymous(pages * kPageBytes).ok() && (copies == 0 || shadow.anonymous(copies * kPageBytes).ok()));
    CHECK(image.anonymous(pages * kPageBytes).ok() && dirty.create(pages).ok() && encoder.prepare().ok());
  }

  uint8_t* page(uint64_t number) const { return memory.data() + number * kPageBytes; }

  /** One call: its chunks, whose slabs are free again. */
  EncodeOutcome encode(Grain grain, bool copies, std::vector<Bytes>& chunks) {
    EncodeOutcome outcome;
    CHECK(encoder.encode(dirty, grain, outcome, copies).ok());
    for (const Chunk& chunk : outcome.chunks) {
      CHECK(chunk.payload_bytes <= slabs.payload_bytes());
      const uint8_t* const from = slabs.payload(chunk.slab);
      chunks.emplace_back(from, from + chunk.payload_bytes);
      CHECK(crc32c(chunks.back()) == chunk.crc32c);
      CHECK(slabs.release(chunk.slab));
    }
    CHECK(slabs.free_count() == slabs.count());
    CHECK(outcome.complete == (dirty.count() == 0));
    runs += outcome.copies.runs;
    return outcome;
  }

  /** A whole epoch's chunks; the calls it took. */
  int encode_all(Grain grain, bool copies, std::vector<Bytes>& chunks) {
    for (int calls = 1;; calls++) {
      if (encode(grain, copies, chunks).complete) return calls;
    }
  }

  /** Encodes and applies, twice, until nothing is left, as one epoch; returns the number of encode calls. */
  int replicate(Grain grain = Grain::words, bool copies = false) {
    std::vector<Bytes> chunks;
    const int calls = encode_all(grain, copies, chunks);
    ApplyOutcome applied;
    CHECK(check_epoch(spans(chunks)).ok() && apply_epoch(image, spans(chunks), 2, applied).ok());
    image_digest += applied.digest_change;
    ApplyOutcome again;
    CHECK(apply_epoch(image, spans(chunks), 2, again).ok() && again.digest_change == 0);
    return calls;
  }

  void check_agreement() {
    if (shadow.bytes() == image.bytes()) CHECK(std::memcmp(image.data(), shadow.data(), image.bytes()) == 0);
    CHECK(image_digest == digest_of(image, 2) && image_digest == encoder.digest());
  }
};

inline void scribble(Pair& pair, Random& random, int writes) {
  for (int i = 0; i < writes; i++) {
    const uint64_t page = random.below(pair.dirty.pages());
    const uint64_t length = 1 + random.below(random.below(4) == 0 ? 4096 : 40);
    const uint64_t at = random.below(kPageBytes - length + 1);
    const uint8_t value = random.below(3) == 0 ? 0 : static_cast<uint8_t>(random.next());
    std::memset(pair.page(page) + at, value, length);
    pair.dirty.set(page);
  }
}

/** Fills pages with what stands nowhere else. */
inline void fill(Pair& pair, Random& random, uint64_t first, uint64_t count) {
  for (uint64_t page = first; page < first + count; page++) {
    for (uint64_t at = 0; at < kPageBytes; at += 8) {
      const uint64_t value = random.next();
      std::memcpy(pair.page(page) + at, &value, 8);
    }
    pair.dirty.set(page);
  }
}

/** Copies stretches of some words to other words, over the borders of pages too. */
inline void move_blocks(Pair& pair, Random& random, int moves) {
  const uint64_t words = pair.memory.bytes() / 8;
  for (int i = 0; i < moves; i++) {
    const uint64_t length = random.below(3) == 0 ? 512 : 1 + random.below(700);
    const uint64_t aligned = random.below(3) == 0 ? 512 : 1;
    const uint64_t from = random.below(words - length) / aligned * aligned;
    const uint64_t to = random.below(words - length) / aligned * aligned;
    std::memmove(pair.memory.data() + to * 8, pair.memory.data() + from * 8, length * 8);
    for (uint64_t page = to / 512; page <= (to + length - 1) / 512; page++) pair.dirty.set(page);
  }
}

}  // namespace romulus::test
