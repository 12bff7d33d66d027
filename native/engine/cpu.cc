/** Feature detection and the choice of kernels; the environment can only lower it. */
#include "cpu.h"

#include <cstdlib>
#include <cstring>

namespace romulus {
namespace {

CpuFeatures detect() noexcept {
  CpuFeatures found;
#if defined(__x86_64__)
  __builtin_cpu_init();
  found.sse42 = __builtin_cpu_supports("sse4.2");
  found.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
  found.avx512 = found.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                 __builtin_cpu_supports("avx512vbmi2") && __builtin_cpu_supports("avx512bitalg") &&
                 __builtin_cpu_supports("avx512vpopcntdq");
  found.vpclmul = found.avx512 && __builtin_cpu_supports("vpclmulqdq");
#endif
  return found;
}

const Kernels& choose() noexcept {
#if defined(__x86_64__)
  const char* forced = std::getenv("ROMULUS_CPU");
  const bool portable = forced != nullptr && std::strcmp(forced, "portable") == 0;
  const bool no_avx512 = forced != nullptr && std::strcmp(forced, "avx2") == 0;
  if (portable) return kPortableKernels;
  if (cpu_features().avx512 && !no_avx512) return kAvx512Kernels;
  if (cpu_features().avx2) return kAvx2Kernels;
#endif
  return kPortableKernels;
}

}  // namespace

const CpuFeatures& cpu_features() noexcept {
  static const CpuFeatures features = detect();
  return features;
}

const Kernels& kernels() noexcept {
  static const Kernels& chosen = choose();
  return chosen;
}

}  // namespace romulus
