/** What this processor can do, found once, and the kernels chosen by it. */
#pragma once

#include <cstdint>

#include "kernels.h"

namespace romulus {

struct CpuFeatures {
  bool sse42 = false;
  bool avx2 = false;
  /** F, BW, DQ, VL, VBMI2, BITALG, VPOPCNTDQ and the operating system's leave to use them. */
  bool avx512 = false;
  /** Carry-less multiplication of whole 512-bit registers. */
  bool vpclmul = false;
};

const CpuFeatures& cpu_features() noexcept;

/** The best kernels this processor runs; ROMULUS_CPU=portable|avx2|avx512 lowers the choice (tests, comparison). */
const Kernels& kernels() noexcept;

}  // namespace romulus
