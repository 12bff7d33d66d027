#include "domain.h"

#include <poll.h>

#include <bit>

namespace romulus::xen {
namespace {

/** Epochs without ballooning after which the whole guest is mapped again; mapping it takes as long as some hundred epochs' maps. */
constexpr unsigned kQuietEpochs = 64;

/** A guest that has just gone on here sets its drivers up within a second or two; one that boots takes longer than anybody should wait. */
constexpr int kDriversLimitMs = 10'000;
constexpr int kLookEveryMs = 100;

/** The parameters that libxc saves, in its order: store, console, shared I/O pages, paging, timers, and their event channels. */
constexpr uint32_t kSavedParams[] = {
    HVM_PARAM_STORE_PFN,      HVM_PARAM_IOREQ_PFN,         HVM_PARAM_BUFIOREQ_PFN,   HVM_PARAM_PAGING_RING_PFN,
    HVM_PARAM_MONITOR_RING_PFN, HVM_PARAM_SHARING_RING_PFN, HVM_PARAM_VM86_TSS_SIZED, HVM_PARAM_CONSOLE_PFN,
    HVM_PARAM_ACPI_IOPORTS_LOCATION, HVM_PARAM_VIRIDIAN,   HVM_PARAM_IDENT_PT,       HVM_PARAM_VM_GENERATION_ID_ADDR,
    HVM_PARAM_IOREQ_SERVER_PFN, HVM_PARAM_NR_IOREQ_SERVER_PAGES, HVM_PARAM_X87_FIP_WIDTH, HVM_PARAM_MCA_CAP,
};

/** PVH has no more than a local APIC emulated, and that by Xen. */
bool has_model(const xc_domaininfo_t& info) { return (info.arch_config.emulation_flags & ~uint32_t{XEN_X86_EMU_LAPIC}) != 0; }

/** Without drivers the firmware may still be moving the memory of devices about, and nobody would suspend the guest. */
void await_drivers(xc_interface* xch, uint32_t domid) {
  for (int waited_ms = 0;; waited_ms += kLookEveryMs) {
    // Set by the drivers, and again when a guest goes on elsewhere; libxl tells by it too.
    uint64_t callback = 0;
    check(xc_hvm_param_get(xch, domid, HVM_PARAM_CALLBACK_IRQ, &callback) == 0, "xc_hvm_param_get");
    if (callback != 0) return;
    if (waited_ms >= kDriversLimitMs) throw Error("its drivers for Xen are not up yet, or it has none", EAGAIN);
    poll(nullptr, 0, kLookEveryMs);
  }
}

Control open_control(uint32_t domid) {
  Control control(xc_interface_open(nullptr, nullptr, 0));
  check(control != nullptr, "xc_interface_open");
  const xc_domaininfo_t info = domain_info(control.get(), domid);
  if (!(info.flags & XEN_DOMINF_hvm_guest)) throw Error("a PV guest: this Xen tracks dirty pages of PVH and HVM guests only", ENOTSUP);
  if (has_model(info)) await_drivers(control.get(), domid);
  return control;
}

template <typename Handle>
Handle opened(Handle handle, const char* call) {
  check(handle != nullptr, call);
  return handle;
}

std::string target_path(uint32_t domid) { return "/local/domain/" + std::to_string(domid) + "/memory/target"; }

}  // namespace

Domain::Domain(uint32_t domid)
    : domid_(domid),
      control_(open_control(domid)),
      memory_(opened(ForeignMemory(xenforeignmemory_open(nullptr, 0)), "xenforeignmemory_open")),
      store_(opened(Store(xs_open(0)), "xs_open")),
      suspension_(control_.get(), store_.get(), domid),
      log_(control_.get(), domid),
      layout_(Layout::of(control_.get(), domid)),
      map_(memory_.get(), domid, layout_) {
  const xc_domaininfo_t info = domain_info(control_.get(), domid);
  cpus_ = info.max_vcpu_id + 1;
  total_pages_ = info.tot_pages;
  has_model_ = has_model(info);
  const int version = xc_version(control_.get(), XENVER_version, nullptr);
  check(version >= 0, "xc_version");
  xen_version_ = static_cast<uint32_t>(version);
  // Fires once at once, and then whenever a tool asks the guest to give memory back or to take some.
  check(xs_watch(store_.get(), target_path(domid).c_str(), "target"), "xs_watch");
  dirty_.assign(layout_.pages / 64, ~uint64_t{0});
  remap();
  standing_ = true;
  // The watch's first event only says that it is set.
  unsigned count = 0;
  free(xs_read_watch(store_.get(), &count));
}

void Domain::suspend(int limit_ms) {
  // Nothing but tools of this host set these, so that they are read while the guest still runs.
  read_params();
  const xc_domaininfo_t info = suspension_.request(limit_ms);
  suspended_ = true;
  collect(info);
  capture();
}

bool Domain::ballooned(const xc_domaininfo_t& info) {
  bool changed = false;
  while (char** event = xs_check_watch(store_.get())) {
    free(event);
    changed = true;
  }
  if (info.tot_pages != total_pages_) changed = true;
  total_pages_ = info.tot_pages;
  return changed;
}

void Domain::remap() {
  map_.unmap();
  present_ = layout_.present(control_.get(), domid_);
  map_.map(present_);
}

void Domain::collect(const xc_domaininfo_t& info) {
  if (ballooned(info)) {
    // Frames may have changed behind the standing map unseen, so every page counts as dirty this once.
    if (standing_) dirty_.assign(dirty_.size(), ~uint64_t{0});
    standing_ = false;
    quiet_epochs_ = 0;
  }
  if (!standing_) {
    const PageBits before(present_);
    remap();
    for (std::size_t word = 0; word < dirty_.size(); word++) dirty_[word] |= before[word] ^ present_[word];
    standing_ = ++quiet_epochs_ >= kQuietEpochs;
  }
  const uint64_t* by_gfn = log_.clean();
  const PageBits written = layout_.translate(by_gfn, log_.gfn_count());
  for (std::size_t word = 0; word < dirty_.size(); word++) dirty_[word] |= written[word] & present_[word];
  // What moved after the layout was taken, as a BIOS moves the frame buffer, would be missing from every image.
  if (has_model_ && layout_.misses(control_.get(), domid_, by_gfn, log_.gfn_count()))
    throw Error("a device of the guest has moved its memory", ESTALE);
}

PageBits Domain::take_dirty() {
  if (!suspended_) collect(info());
  PageBits taken(dirty_.size(), 0);
  taken.swap(dirty_);
  return taken;
}

void Domain::read_params() {
  state_.params.clear();
  for (const uint32_t index : kSavedParams) {
    uint64_t value = 0;
    check(xc_hvm_param_get(control_.get(), domid_, index, &value) == 0, "xc_hvm_param_get");
    if (value != 0) state_.params.emplace_back(index, value);
  }
}

void Domain::capture() {
  DomainState& state = state_;
  xc_interface* xch = control_.get();
  if (context_bytes_ == 0) {
    context_bytes_ = xc_domain_hvm_getcontext(xch, domid_, nullptr, 0);
    check(context_bytes_ > 0, "xc_domain_hvm_getcontext");
  }
  state.context.resize(context_bytes_);
  const int written = xc_domain_hvm_getcontext(xch, domid_, state.context.data(), state.context.size());
  check(written > 0, "xc_domain_hvm_getcontext");
  state.context.resize(written);
  check(xc_domain_get_tsc_info(xch, domid_, &state.tsc.mode, &state.tsc.nsec, &state.tsc.khz, &state.tsc.incarnation) == 0,
        "xc_domain_get_tsc_info");
  state.absent.resize(present_.size());
  for (std::size_t word = 0; word < present_.size(); word++) state.absent[word] = ~present_[word];
}

PolicyBlobs Domain::policies() const {
  xc_interface* xch = control_.get();
  CpuPolicy policy(xc_cpu_policy_init());
  check(policy != nullptr, "xc_cpu_policy_init");
  check(xc_cpu_policy_get_domain(xch, domid_, policy.get()) == 0, "xc_cpu_policy_get_domain");
  return serialised(xch, policy.get());
}

PolicyBlobs serialised(xc_interface* xch, xc_cpu_policy_t* policy) {
  uint32_t leaf_count = 0, msr_count = 0;
  check(xc_cpu_policy_get_size(xch, &leaf_count, &msr_count) == 0, "xc_cpu_policy_get_size");
  std::vector<xen_cpuid_leaf_t> leaves(leaf_count);
  std::vector<xen_msr_entry_t> msrs(msr_count);
  check(xc_cpu_policy_serialise(xch, policy, leaves.data(), &leaf_count, msrs.data(), &msr_count) == 0,
        "xc_cpu_policy_serialise");
  const auto bytes = [](const void* data, std::size_t size) {
    const auto* begin = static_cast<const uint8_t*>(data);
    return std::vector<uint8_t>(begin, begin + size);
  };
  return {bytes(leaves.data(), leaf_count * sizeof leaves[0]), bytes(msrs.data(), msr_count * sizeof msrs[0])};
}

void Domain::resume() {
  suspension_.resume();
  suspended_ = false;
  // A map that stayed would keep the frames that a ballooning guest gives back.
  if (!standing_) map_.unmap();
}

}  // namespace romulus::xen
