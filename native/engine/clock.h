/** Monotonic and processor time in nanoseconds, for measuring. */
#pragma once

#include <cstdint>
#include <ctime>

namespace romulus {

inline uint64_t clock_ns(clockid_t clock) noexcept {
  timespec now;
  clock_gettime(clock, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

inline uint64_t now_ns() noexcept { return clock_ns(CLOCK_MONOTONIC); }

/** How long a processor worked for this thread. */
inline uint64_t thread_cpu_ns() noexcept { return clock_ns(CLOCK_THREAD_CPUTIME_ID); }

}  // namespace romulus
