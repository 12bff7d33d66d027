/** Asks a guest to suspend itself and hears of it over an event channel, without xenstored on the critical path. */
#pragma once

#include <string>

#include "xen.h"

namespace romulus::xen {

class Suspension {
 public:
  /** Undoes what a killed predecessor left: its subscription, its request, the guest it left suspended. */
  Suspension(xc_interface* xch, xs_handle* store, uint32_t domid);
  ~Suspension();
  Suspension(const Suspension&) = delete;
  Suspension& operator=(const Suspension&) = delete;

  /**
   * Returns once every vCPU is stopped by the guest's own suspend. Throws ETIMEDOUT, with the request taken back, when the
   * guest does not answer; ESHUTDOWN when it shut down for another reason. Returns what Xen then says of the domain.
   */
  xc_domaininfo_t request(int limit_ms);
  /** Lets the guest go on as if its suspend had been cancelled, so its drivers do not reconnect. */
  void resume();
  /** From the moment we saw the guest suspended until resume() asked Xen to let it go, in ms; of the last time. */
  double down_ms() const { return down_ms_; }

 private:
  bool suspended(xc_domaininfo_t* found = nullptr) const;
  bool take_back() const;
  void recover();
  bool bind_known_port();
  void bind_new_port();

  xc_interface* xch_;
  xs_handle* store_;
  uint32_t domid_;
  std::string request_path_;
  /** Where the number of the guest's port is kept for the next run, as long as the domain lives. */
  std::string port_path_;
  EventChannels channels_;
  uint32_t guest_port_ = 0;
  int port_ = -1;
  double suspended_at_ms_ = 0;
  double down_ms_ = 0;
};

}  // namespace romulus::xen
