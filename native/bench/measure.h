/** How everything here is measured: cold caches, wall and processor time, medians. */
#pragma once

#include <algorithm>
#include <cstdint>
#include <ctime>
#include <vector>

#include "../engine/clock.h"
#include "../engine/page.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace romulus::bench {

/** Puts a range out of every cache, as it is when a guest wrote it a while ago. */
inline void flush(const void* from, uint64_t bytes) noexcept {
#if defined(__x86_64__)
  const auto* at = static_cast<const uint8_t*>(from);
  for (uint64_t b = 0; b < bytes; b += kLineBytes) _mm_clflush(at + b);
  _mm_mfence();
#else
  (void)from;
  (void)bytes;
#endif
}

struct Times {
  uint64_t ns = 0;
  /** Of all threads together: tells of the work done when others load the machine. */
  uint64_t cpu_ns = 0;

  Times& operator+=(const Times& other) noexcept {
    ns += other.ns;
    cpu_ns += other.cpu_ns;
    return *this;
  }
};

inline uint64_t cpu_now_ns() noexcept {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

/** Adds what the body takes. */
template <typename F>
void timed(Times& total, F&& body) {
  const uint64_t cpu = cpu_now_ns();
  const uint64_t wall = now_ns();
  body();
  total.ns += now_ns() - wall;
  total.cpu_ns += cpu_now_ns() - cpu;
}

inline Times median(std::vector<Times> runs) {
  std::sort(runs.begin(), runs.end(), [](const Times& a, const Times& b) { return a.cpu_ns < b.cpu_ns; });
  return runs[runs.size() / 2];
}

/** Makes the compiler believe that a result is used. */
template <typename T>
void keep(const T& value) noexcept {
  asm volatile("" : : "g"(value) : "memory");
}

}  // namespace romulus::bench
