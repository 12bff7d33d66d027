#include "dirty_log.h"

namespace romulus::xen {

DirtyLog::DirtyLog(xc_interface* xch, uint32_t domid) : xch_(xch), domid_(domid) {
  check(xc_domain_nr_gpfns(xch, domid, &gfn_count_) == 0, "xc_domain_nr_gpfns");
  buffer_pages_ = static_cast<int>((gfn_count_ + kPageBytes * 8 - 1) / (kPageBytes * 8));
  // DECLARE_HYPERCALL_BUFFER is C only; this is what it stands for.
  buffer_.ubuf = reinterpret_cast<void*>(-1);
  bits_ = xc__hypercall_buffer_alloc_pages(xch, &buffer_, buffer_pages_);
  check(bits_ != nullptr, "xc_hypercall_buffer_alloc_pages");
  if (xc_shadow_control(xch, domid, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY, nullptr, 0) == 0) return;
  // EINVAL is also what Xen answers when the mode is on already.
  xc_shadow_control(xch, domid, XEN_DOMCTL_SHADOW_OP_OFF, nullptr, 0);
  if (xc_shadow_control(xch, domid, XEN_DOMCTL_SHADOW_OP_ENABLE_LOGDIRTY, nullptr, 0) != 0) {
    const int code = errno;
    xc__hypercall_buffer_free_pages(xch, &buffer_, buffer_pages_);
    throw Error("switching log-dirty mode on failed", code);
  }
}

DirtyLog::~DirtyLog() {
  xc_shadow_control(xch_, domid_, XEN_DOMCTL_SHADOW_OP_OFF, nullptr, 0);
  xc__hypercall_buffer_free_pages(xch_, &buffer_, buffer_pages_);
}

const uint64_t* DirtyLog::clean() {
  xc_shadow_op_stats_t stats{};
  // FINAL adds the frames that Xen itself has mapped for emulation.
  const long long read = xc_logdirty_control(xch_, domid_, XEN_DOMCTL_SHADOW_OP_CLEAN, &buffer_, gfn_count_,
                                             XEN_DOMCTL_SHADOW_LOGDIRTY_FINAL, &stats);
  if (read < 0) fail("xc_logdirty_control");
  if (static_cast<uint64_t>(read) != gfn_count_) throw Error("Xen returned a dirty bitmap of another size", EPROTO);
  return static_cast<const uint64_t*>(bits_);
}

}  // namespace romulus::xen
