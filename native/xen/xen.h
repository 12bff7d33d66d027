/** Xen's C headers as C++ sees them, RAII for each kind of handle, and the one error type of this addon. */
#pragma once

#include <cerrno>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

/** The headers carry no extern "C" of their own. */
extern "C" {
#include <xenctrl.h>
#include <xenevtchn.h>
#include <xenforeignmemory.h>
#include <xenguest.h>
#include <xenstore.h>

/** Exported by libxenctrl.so.4.17, declared only in a private header. Types come back in place, in bits 28-31. */
int xc_get_pfn_type_batch(xc_interface* xch, uint32_t domid, unsigned int count, xen_pfn_t* gfns);
}

namespace romulus::xen {

inline constexpr std::size_t kPageBytes = 4096;

/** `code` is an errno; the binding hands it to JavaScript as its name. */
class Error : public std::runtime_error {
 public:
  Error(const std::string& what, int code) : std::runtime_error(what), code_(code) {}
  int code() const { return code_; }

 private:
  int code_;
};

[[noreturn]] inline void fail(const std::string& call) {
  const int code = errno;
  throw Error(call + " failed", code);
}

inline void check(bool ok, const char* call) {
  if (!ok) fail(call);
}

template <auto Close>
struct Closer {
  template <typename Handle>
  void operator()(Handle* handle) const {
    Close(handle);
  }
};

using Control = std::unique_ptr<xc_interface, Closer<xc_interface_close>>;
using ForeignMemory = std::unique_ptr<xenforeignmemory_handle, Closer<xenforeignmemory_close>>;
using EventChannels = std::unique_ptr<xenevtchn_handle, Closer<xenevtchn_close>>;
using Store = std::unique_ptr<xs_handle, Closer<xs_close>>;
using CpuPolicy = std::unique_ptr<xc_cpu_policy_t, Closer<xc_cpu_policy_destroy>>;

/** What Xen knows of a domain; throws ENOENT when there is none of that number. */
inline xc_domaininfo_t domain_info(xc_interface* xch, uint32_t domid) {
  xc_domaininfo_t info{};
  const int found = xc_domain_getinfolist(xch, domid, 1, &info);
  if (found < 0) fail("xc_domain_getinfolist");
  if (found != 1 || info.domain != domid) throw Error("domain " + std::to_string(domid) + " does not exist", ENOENT);
  return info;
}

inline bool is_shut_down(const xc_domaininfo_t& info) { return (info.flags & XEN_DOMINF_shutdown) != 0; }

/** One of SHUTDOWN_poweroff 0, SHUTDOWN_reboot 1, SHUTDOWN_suspend 2, SHUTDOWN_crash 3; means something only after a shutdown. */
inline unsigned shutdown_reason(const xc_domaininfo_t& info) {
  return (info.flags >> XEN_DOMINF_shutdownshift) & XEN_DOMINF_shutdownmask;
}

}  // namespace romulus::xen
