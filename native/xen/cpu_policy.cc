#include "cpu_policy.h"

#include <cstring>

namespace romulus::xen {
namespace {

CpuPolicy empty_policy() {
  CpuPolicy policy(xc_cpu_policy_init());
  check(policy != nullptr, "xc_cpu_policy_init");
  return policy;
}

template <typename T>
std::vector<T> items_of(const std::vector<uint8_t>& bytes) {
  if (bytes.size() % sizeof(T) != 0) throw Error("a CPU policy of a length that it cannot have", EINVAL);
  std::vector<T> items(bytes.size() / sizeof(T));
  if (!items.empty()) std::memcpy(items.data(), bytes.data(), bytes.size());
  return items;
}

}  // namespace

HostPolicy host_policy_for(const PolicyBlobs& guest) {
  const Control control(xc_interface_open(nullptr, nullptr, 0));
  check(control != nullptr, "xc_interface_open");
  xc_interface* xch = control.get();
  const CpuPolicy host = empty_policy(), theirs = empty_policy();
  check(xc_cpu_policy_get_system(xch, XEN_SYSCTL_cpu_policy_hvm_max, host.get()) == 0, "xc_cpu_policy_get_system");
  const auto leaves = items_of<xen_cpuid_leaf_t>(guest.leaves);
  const auto msrs = items_of<xen_msr_entry_t>(guest.msrs);
  check(xc_cpu_policy_update_cpuid(xch, theirs.get(), leaves.data(), leaves.size()) == 0, "xc_cpu_policy_update_cpuid");
  check(xc_cpu_policy_update_msrs(xch, theirs.get(), msrs.data(), msrs.size()) == 0, "xc_cpu_policy_update_msrs");
  HostPolicy found;
  found.takes_guest = xc_cpu_policy_is_compatible(xch, host.get(), theirs.get());
  found.leaves = serialised(xch, host.get()).leaves;
  return found;
}

}  // namespace romulus::xen
