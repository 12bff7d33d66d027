/** Xen's log-dirty mode of one domain: on while this object lives, read and cleared in one hypercall. */
#pragma once

#include "xen.h"

namespace romulus::xen {

class DirtyLog {
 public:
  /** Takes over from a killed predecessor that left the mode on. EINVAL for a PV guest: Debian's Xen has no log-dirty for it. */
  DirtyLog(xc_interface* xch, uint32_t domid);
  ~DirtyLog();
  DirtyLog(const DirtyLog&) = delete;
  DirtyLog& operator=(const DirtyLog&) = delete;

  /** Bits of the frames written since the last call, gfn_count() of them, valid until the next call. The guest must be suspended. */
  const uint64_t* clean();
  uint64_t gfn_count() const { return gfn_count_; }

 private:
  xc_interface* xch_;
  uint32_t domid_;
  xen_pfn_t gfn_count_ = 0;
  int buffer_pages_ = 0;
  xc_hypercall_buffer_t buffer_{};
  void* bits_ = nullptr;
};

}  // namespace romulus::xen
