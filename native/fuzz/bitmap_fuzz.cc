/** Any bytes as a bitmap: runs, count and list agree with one another. */
#include <cstdlib>
#include <vector>

#include "../engine/bitmap.h"
#include "../engine/cpu.h"

using namespace romulus;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  if (size < 2 || size > 4096) return 0;
  Bitmap bitmap;
  const uint64_t pages = (size - 1) * 8 - bytes[0] % 8;
  if (!bitmap.create(pages).ok()) std::abort();
  bitmap.load({bytes + 1, size - 1});
  const uint64_t count = bitmap.count();
  std::vector<double> runs(2 * bitmap.count_runs());
  bitmap.write_runs(runs);
  uint64_t in_runs = 0;
  double end = -1;
  for (size_t i = 0; i < runs.size(); i += 2) {
    if (runs[i] <= end || runs[i + 1] < 1) std::abort();
    end = runs[i] + runs[i + 1];
    in_runs += static_cast<uint64_t>(runs[i + 1]);
  }
  if (in_runs != count || end > static_cast<double>(pages)) std::abort();
  std::vector<uint32_t> list(count + kStoreSlackBytes);
  const std::span<uint64_t> words = bitmap.words();
  std::vector<uint32_t> found(words.size() + kStoreSlackBytes);
  const DirtyWords dirty = kernels().find_words(words.data(), words.size(), 0, found.data());
  if (dirty.pages != count) std::abort();
  if (kernels().take_pages(words.data(), found.data(), dirty.words, list.data()) != count || bitmap.count() != 0) std::abort();
  size_t at = 0;
  for (size_t i = 0; i < runs.size(); i += 2) {
    for (uint64_t p = 0; p < static_cast<uint64_t>(runs[i + 1]); p++) {
      if (list[at++] != static_cast<uint64_t>(runs[i]) + p) std::abort();
    }
  }
  return 0;
}
