/** A compressed payload, damaged within or without: refused, or within the room given, and the payload in it is read with the same care. */
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../engine/payload.h"
#include "../engine/zstd_codec.h"

using namespace romulus;

extern "C" size_t LLVMFuzzerMutate(uint8_t* bytes, size_t size, size_t room);

namespace {

constexpr uint64_t kRoomBytes = 1 << 16;
/** As many as the guests of the seeds have. */
constexpr uint64_t kPages = 1 << 18;
/** Longest header of a frame: bytes behind it belong to blocks, whose decoders are what damage has to reach. */
constexpr size_t kFrameHeaderBytes = 18;

std::vector<uint8_t>& room() {
  static std::vector<uint8_t> bytes(kRoomBytes);
  return bytes;
}

/** Levels that write blocks differently: raw and run-length literals, other tables, other matches. */
constexpr int kLevels[] = {-3, 1, 3, 9};

/** Puts the compressed form of `plain` at `to`; 0 when it does not fit or gets no smaller. */
size_t packed(const std::vector<uint8_t>& plain, uint8_t* to, size_t most, unsigned seed) {
  uint64_t written = 0;
  const CompressOptions options = {.level = kLevels[seed % std::size(kLevels)]};
  return compress(plain, {to, std::min<size_t>(most, plain.size())}, options, written).ok() ? written : 0;
}

}  // namespace

/** Random bytes are no frame: damage is done to a payload that is packed again, or to the blocks of a sound frame, or anywhere. */
extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* bytes, size_t size, size_t most, unsigned seed) {
  if (seed % 8 == 0) return LLVMFuzzerMutate(bytes, size, most);
  if (seed % 2 == 0 && size > kFrameHeaderBytes) {
    return kFrameHeaderBytes + LLVMFuzzerMutate(bytes + kFrameHeaderBytes, size - kFrameHeaderBytes, most - kFrameHeaderBytes);
  }
  uint64_t written = 0;
  std::vector<uint8_t> plain(bytes, bytes + size);
  if (decompress({bytes, size}, room(), written).ok()) {
    plain.assign(room().begin(), room().begin() + static_cast<std::ptrdiff_t>(written));
  }
  const size_t before = plain.size();
  plain.resize(std::min<size_t>(kRoomBytes, 2 * before + 64));
  plain.resize(LLVMFuzzerMutate(plain.data(), before, plain.size()));
  const size_t now = packed(plain, bytes, most, seed / 8);
  return now != 0 ? now : LLVMFuzzerMutate(bytes, size, most);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  uint64_t written = 0;
  const bool sound = decompress({bytes, size}, room(), written).ok();
  if (written > kRoomBytes || (!sound && written != 0)) std::abort();
  if (!sound) return 0;
  // An exact copy, so that the sanitizer sees reads beyond the end.
  const std::vector<uint8_t> payload(room().begin(), room().begin() + static_cast<std::ptrdiff_t>(written));
  uint64_t named = 0;
  if (check_chunk(payload, kPages, named).ok() && named > payload.size()) std::abort();
  // What was packed comes back as it was.
  std::vector<uint8_t> again(payload.size());
  uint64_t packed_bytes = packed(payload, again.data(), again.size(), static_cast<unsigned>(size));
  if (packed_bytes == 0) return 0;
  if (!decompress({again.data(), packed_bytes}, room(), written).ok() || written != payload.size()) std::abort();
  if (std::memcmp(room().data(), payload.data(), written) != 0) std::abort();
  return 0;
}
