/** Any bytes as a chunk: refused, or applied within the image with a digest that agrees and a second time to no effect. */
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../engine/apply.h"
#include "../engine/payload.h"

using namespace romulus;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  constexpr uint64_t kPages = 8;
  static Mapping image;
  if (image.data() == nullptr && !image.anonymous(kPages * kPageBytes).ok()) std::abort();
  // An exact copy, so that the sanitizer sees reads beyond the end.
  const std::vector<uint8_t> copy(bytes, bytes + size);
  const std::span<const uint8_t> payload(copy.data(), copy.size());
  uint64_t named = 0;
  const bool sound = check_chunk(payload, kPages, named).ok() && check_epoch({&payload, 1}).ok();
  const uint64_t before = digest_of(image, 1);
  ApplyOutcome applied;
  const bool done = apply_epoch(image, {&payload, 1}, 1, applied).ok();
  if (done != sound) std::abort();
  if (digest_of(image, 1) != before + applied.digest_change) std::abort();
  if (!sound && applied.digest_change != 0) std::abort();
  if (sound && named != applied.pages) std::abort();
  ApplyOutcome again;
  if (sound && (!apply_epoch(image, {&payload, 1}, 1, again).ok() || again.digest_change != 0)) std::abort();
  return 0;
}
