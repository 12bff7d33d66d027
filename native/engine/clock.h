/** Monotonic time in nanoseconds, for measuring. */
#pragma once

#include <cstdint>
#include <ctime>

namespace romulus {

inline uint64_t now_ns() noexcept {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace romulus
