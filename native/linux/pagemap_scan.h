/** PAGEMAP_SCAN (Linux >= 6.7): reads and resets, in one ioctl, which pages another process wrote. */
#pragma once

#include <cstdint>

#include "../engine/bitmap.h"
#include "../engine/status.h"

namespace romulus {

class PagemapScan {
 public:
  static bool supported() noexcept;

  PagemapScan() noexcept = default;
  ~PagemapScan() { close(); }
  PagemapScan(const PagemapScan&) = delete;
  PagemapScan& operator=(const PagemapScan&) = delete;

  /**
   * `address`..`address + bytes` of process `pid`, whole pages, which it registered with userfaultfd for asynchronous
   * write protection. ESRCH if there is no such process.
   */
  Status open(int pid, uint64_t address, uint64_t bytes) noexcept;
  /**
   * Sets in `into` (page 0 is at `address`) the pages written since the last call; `named` counts them. On an error the
   * pages already reset are in `into`. ESRCH once the process ended, EPERM if the range is not registered.
   */
  Status take(Bitmap& into, uint64_t& named) noexcept;
  void close() noexcept;

 private:
  int pagemap_ = -1;
  int process_ = -1;
  uint64_t start_ = 0;
  uint64_t end_ = 0;
};

}  // namespace romulus
