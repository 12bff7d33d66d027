/** Recorded traces of real guests ("FTRACE1"): the dirty pages of each epoch and what was in them, for measuring. */
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "../engine/mapping.h"
#include "../engine/status.h"

namespace romulus::bench {

struct TraceEpoch {
  /** Dirty page numbers, ascending. */
  std::vector<uint32_t> pages;
  /** Place of the epoch's contents, one page each, XORed with the page's content before. */
  const uint8_t* changes = nullptr;
};

class Trace {
 public:
  /** Reads the whole file into memory; EBADMSG if it is not a trace. */
  Status read(const char* path) noexcept;
  /** The same from the unpacked content of a trace file. */
  Status parse(std::vector<uint8_t> content) noexcept;

  /** Made up: each epoch `words` random words change in each of `pages` neighbouring pages (512: whole pages). */
  void synthesize(std::string name, uint64_t pages, uint32_t epochs, uint32_t words);

  const std::string& name() const noexcept { return name_; }
  uint64_t ram_bytes() const noexcept { return ram_bytes_; }
  uint32_t epoch_ms() const noexcept { return epoch_ms_; }
  const std::vector<TraceEpoch>& epochs() const noexcept { return epochs_; }

  /** Writes the contents the guest began with. */
  void load_initial(Mapping& memory) const noexcept;
  /** Brings the memory from the epoch before to this one. */
  static void advance(Mapping& memory, const TraceEpoch& epoch) noexcept;

 private:
  std::vector<uint8_t> content_;
  std::string name_;
  uint64_t ram_bytes_ = 0;
  uint32_t epoch_ms_ = 0;
  std::vector<uint32_t> union_pages_;
  const uint8_t* initial_ = nullptr;
  std::vector<TraceEpoch> epochs_;
};

}  // namespace romulus::bench
