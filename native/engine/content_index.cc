/** Given memory on first touch: a guest with little changing content has a small index. */
#include "content_index.h"

namespace romulus {

Status ContentIndex::prepare(uint64_t pages) noexcept {
  if (is_prepared()) return {};
  const uint64_t bitmap_bytes = (pages + 63) / 64 * sizeof(uint64_t);
  if (Status status = seen_.anonymous(bitmap_bytes); !status.ok()) return status;
  if (Status status = shut_.anonymous(bitmap_bytes); !status.ok()) return status;
  return table_.anonymous(kEntries * sizeof(uint64_t));
}

}  // namespace romulus
