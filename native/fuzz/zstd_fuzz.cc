/** Any bytes as a compressed payload: refused, or within the room given, and the payload in it is read with the same care. */
#include <cstdlib>
#include <vector>

#include "../engine/payload.h"
#include "../engine/zstd_codec.h"

using namespace romulus;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  constexpr uint64_t kRoom = 1 << 16;
  static std::vector<uint8_t> room(kRoom);
  uint64_t written = 0;
  const bool sound = decompress({bytes, size}, room, written).ok();
  if (written > kRoom || (!sound && written != 0)) std::abort();
  if (!sound) return 0;
  // An exact copy, so that the sanitizer sees reads beyond the end.
  const std::vector<uint8_t> payload(room.begin(), room.begin() + static_cast<std::ptrdiff_t>(written));
  uint64_t named = 0;
  if (check_payload(payload, 8, named).ok() && named > 8) std::abort();
  return 0;
}
