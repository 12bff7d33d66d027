/** One protected domain with everything the capture of an epoch needs. One thread at a time; nothing here is shared between domains. */
#pragma once

#include <optional>
#include <utility>

#include "dirty_log.h"
#include "guest_map.h"
#include "layout.h"
#include "model_store.h"
#include "suspend.h"

namespace romulus::xen {

struct TscInfo {
  uint32_t mode = 0;
  uint32_t khz = 0;
  uint64_t nsec = 0;
  uint32_t incarnation = 0;
};

/** CPU and platform state of the suspended guest, in the bodies that Xen's stream has for them. */
struct DomainState {
  std::vector<uint8_t> context;
  std::vector<std::pair<uint64_t, uint64_t>> params;
  TscInfo tsc;
  /** Frames without memory behind them at this epoch, as bits of the index space. */
  PageBits absent;
};

struct PolicyBlobs {
  std::vector<uint8_t> leaves;
  std::vector<uint8_t> msrs;
};

PolicyBlobs serialised(xc_interface* xch, xc_cpu_policy_t* policy);

class Domain {
 public:
  /** Undoes what a killed predecessor left, switches log-dirty on, maps the guest. ENOTSUP for a PV guest, EAGAIN for an HVM guest in its firmware. */
  explicit Domain(uint32_t domid);

  const Layout& layout() const { return layout_; }
  const GuestMap& map() const { return map_; }
  uint32_t cpus() const { return cpus_; }
  uint32_t xen_version() const { return xen_version_; }

  /** Stops the guest: suspend() then finds it stopped. */
  void halt(int limit_ms) { suspension_.request(limit_ms); }
  /** What libxl saves of the device model's place in xenstore: pairs of NUL-ended relative key and value. */
  std::string model_store() const { return saved_model_store(store_.get(), domid_); }
  /** Stops the guest, and in the same breath reads its dirty bitmap, brings the map up to date and captures its state. */
  void suspend(int limit_ms);
  /**
   * Pages written since the last call; every page at the first call and whenever the frames behind the map may have changed.
   * A running guest is asked afresh, of a suspended one suspend() knows.
   */
  PageBits take_dirty();
  /** As of the last suspend(). */
  const DomainState& state() const { return state_; }
  PolicyBlobs policies() const;
  void resume();
  bool suspended() const { return suspended_; }
  double down_ms() const { return suspension_.down_ms(); }
  /**
   * A baseline to measure against: copies these pages of the suspended guest as libxc's own save does, which maps and unmaps
   * each batch of up to 1024 anew. Returns how many it copied.
   */
  uint64_t copy_by_mapping(const PageBits& pages) const;
  xc_domaininfo_t info() const { return domain_info(control_.get(), domid_); }
  /** Whether the guest is mapped for good, or, while it balloons, from each epoch's pause to its resume. */
  bool standing() const { return standing_; }

 private:
  /** Whether frames may have been taken away or given since the last look. */
  bool ballooned(const xc_domaininfo_t& info);
  /** Adds what was written since the last time to `dirty_`, and maps the guest anew while it balloons. */
  void collect(const xc_domaininfo_t& info);
  void remap();
  /** Both into `state_`: what stays the same while the guest goes into its suspend, and what must be read after it. */
  void read_params();
  void capture();

  uint32_t domid_;
  Control control_;
  ForeignMemory memory_;
  Store store_;
  Suspension suspension_;
  DirtyLog log_;
  Layout layout_;
  GuestMap map_;
  PageBits present_;
  /** An HVM guest, with a device model in dom0. */
  bool has_model_ = false;
  uint32_t cpus_ = 0;
  uint32_t xen_version_ = 0;
  PageBits dirty_;
  DomainState state_;
  bool suspended_ = false;
  bool standing_ = false;
  uint64_t total_pages_ = 0;
  unsigned quiet_epochs_ = 0;
  int context_bytes_ = 0;
};

}  // namespace romulus::xen
