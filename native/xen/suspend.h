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
   * guest does not answer; ESHUTDOWN when it shut down for another reason.
   */
  void request(int limit_ms);
  /** Lets the guest go on as if its suspend had been cancelled, so its drivers do not reconnect. */
  void resume();

 private:
  bool suspended() const;
  bool take_back() const;
  void recover();

  xc_interface* xch_;
  xs_handle* store_;
  uint32_t domid_;
  std::string request_path_;
  EventChannels channels_;
  uint32_t guest_port_ = 0;
  int port_ = -1;
};

}  // namespace romulus::xen
