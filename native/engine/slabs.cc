/** A stack of free slab numbers under a lock; taken a few times per epoch, so a lock is enough. */
#include "slabs.h"

namespace romulus {

SlabPool::SlabPool(uint64_t payload_bytes, uint32_t count) : payload_bytes_(payload_bytes), slabs_(count), free_(count) {
  for (uint32_t i = 0; i < count; i++) free_[i] = count - 1 - i;
}

uint32_t SlabPool::take() noexcept {
  const std::lock_guard held(lock_);
  if (free_.empty()) return kNone;
  const uint32_t slab = free_.back();
  Slab& taken = slabs_[slab];
  if (taken.memory.data() == nullptr && !taken.memory.anonymous(kLeadBytes + kHeadroomBytes + payload_bytes_ + kStoreSlackBytes).ok()) {
    return kNone;
  }
  free_.pop_back();
  taken.taken = true;
  return slab;
}

bool SlabPool::release(uint32_t slab) noexcept {
  const std::lock_guard held(lock_);
  if (slab >= slabs_.size() || !slabs_[slab].taken) return false;
  slabs_[slab].taken = false;
  free_.push_back(slab);  // capacity is that of all slabs: never allocates
  return true;
}

uint32_t SlabPool::free_count() noexcept {
  const std::lock_guard held(lock_);
  return static_cast<uint32_t>(free_.size());
}

}  // namespace romulus
