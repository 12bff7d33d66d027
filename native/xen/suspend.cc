#include "suspend.h"

#include <poll.h>
#include <time.h>

#include <cstdlib>

namespace romulus::xen {
namespace {

constexpr char kRequest[] = "suspend";
/** How often we look for a shutdown that the event channel does not announce (power-off, crash), and for a lost event. */
constexpr int kLookEveryMs = 50;
/** How long an acknowledged request may take to become a suspend: libxl waits as long. */
constexpr int kAcknowledgedLimitMs = 60'000;

double exact_now_ms() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

int64_t now_ms() { return static_cast<int64_t>(exact_now_ms()); }

}  // namespace

Suspension::Suspension(xc_interface* xch, xs_handle* store, uint32_t domid)
    : xch_(xch),
      store_(store),
      domid_(domid),
      request_path_("/local/domain/" + std::to_string(domid) + "/control/shutdown"),
      port_path_("/local/domain/" + std::to_string(domid) + "/control/romulus-port"),
      channels_(xenevtchn_open(nullptr, 0)) {
  check(channels_ != nullptr, "xenevtchn_open");
  recover();
  if (!bind_known_port()) bind_new_port();
  check(xc_domain_subscribe_for_suspend(xch, domid, guest_port_) == 0, "xc_domain_subscribe_for_suspend");
}

Suspension::~Suspension() {
  xc_domain_subscribe_for_suspend(xch_, domid_, 0);
  if (port_ >= 0) xenevtchn_unbind(channels_.get(), port_);
}

/** The port that an earlier run opened in the guest: only the guest could close it, and it has 4096 of them. */
bool Suspension::bind_known_port() {
  unsigned length = 0;
  char* node = static_cast<char*>(xs_read(store_, XBT_NULL, port_path_.c_str(), &length));
  if (node == nullptr) return false;
  guest_port_ = static_cast<uint32_t>(std::strtoul(std::string(node, length).c_str(), nullptr, 10));
  free(node);
  port_ = xenevtchn_bind_interdomain(channels_.get(), domid_, guest_port_);
  return port_ >= 0;
}

/** A port in the guest, of which the guest knows nothing: Xen signals it at suspend, in place of telling xenstored. */
void Suspension::bind_new_port() {
  const int guest_port = xc_evtchn_alloc_unbound(xch_, domid_, 0);
  check(guest_port >= 0, "xc_evtchn_alloc_unbound");
  guest_port_ = static_cast<uint32_t>(guest_port);
  port_ = xenevtchn_bind_interdomain(channels_.get(), domid_, guest_port_);
  check(port_ >= 0, "xenevtchn_bind_interdomain");
  const std::string number = std::to_string(guest_port_);
  check(xs_write(store_, XBT_NULL, port_path_.c_str(), number.data(), number.size()), "xs_write");
}

void Suspension::recover() {
  xc_domain_subscribe_for_suspend(xch_, domid_, 0);
  unsigned length = 0;
  char* node = static_cast<char*>(xs_read(store_, XBT_NULL, request_path_.c_str(), &length));
  const bool requested = node != nullptr && std::string(node, length) == kRequest;
  free(node);
  const xc_domaininfo_t info = domain_info(xch_, domid_);
  if (is_shut_down(info) && shutdown_reason(info) != SHUTDOWN_suspend)
    throw Error("the guest has shut down", ESHUTDOWN);
  if (requested && !is_shut_down(info) && !take_back()) {
    const int64_t limit = now_ms() + kAcknowledgedLimitMs;
    while (!suspended() && now_ms() < limit) poll(nullptr, 0, kLookEveryMs);
  }
  if (!suspended()) return;
  resume();
  // xenstored saw that suspend, and would announce no later shutdown of this domain.
  xs_resume_domain(store_, domid_);
}

bool Suspension::suspended(xc_domaininfo_t* found) const {
  const xc_domaininfo_t info = domain_info(xch_, domid_);
  if (found != nullptr) *found = info;
  if (!is_shut_down(info)) return false;
  if (shutdown_reason(info) != SHUTDOWN_suspend)
    throw Error("the guest shut down with reason " + std::to_string(shutdown_reason(info)), ESHUTDOWN);
  return true;
}

/** True when the guest had not yet acknowledged the request, so that no suspend follows. */
bool Suspension::take_back() const {
  for (;;) {
    const xs_transaction_t transaction = xs_transaction_start(store_);
    check(transaction != XBT_NULL, "xs_transaction_start");
    unsigned length = 0;
    char* node = static_cast<char*>(xs_read(store_, transaction, request_path_.c_str(), &length));
    const bool pending = node != nullptr && std::string(node, length) == kRequest;
    free(node);
    if (pending) xs_write(store_, transaction, request_path_.c_str(), "", 0);
    if (xs_transaction_end(store_, transaction, !pending)) return pending;
    check(errno == EAGAIN, "xs_transaction_end");
  }
}

xc_domaininfo_t Suspension::request(int limit_ms) {
  xc_domaininfo_t info{};
  if (suspended(&info)) {
    if (suspended_at_ms_ == 0) suspended_at_ms_ = exact_now_ms();
    return info;
  }
  check(xs_write(store_, XBT_NULL, request_path_.c_str(), kRequest, sizeof kRequest - 1), "xs_write");
  const int64_t limit = now_ms() + limit_ms;
  for (;;) {
    pollfd wait{xenevtchn_fd(channels_.get()), POLLIN, 0};
    if (poll(&wait, 1, kLookEveryMs) > 0) {
      const xenevtchn_port_or_error_t port = xenevtchn_pending(channels_.get());
      if (port >= 0) xenevtchn_unmask(channels_.get(), port);
    }
    if (suspended(&info)) {
      suspended_at_ms_ = exact_now_ms();
      return info;
    }
    if (now_ms() < limit) continue;
    if (take_back()) throw Error("the guest did not answer the request to suspend", ETIMEDOUT);
    // Acknowledged: the suspend should come, and nobody else would resume the guest from it.
    if (now_ms() > limit + kAcknowledgedLimitMs) throw Error("the guest acknowledged but did not suspend", ETIMEDOUT);
  }
}

void Suspension::resume() {
  // Not after the call: where the guest has a processor in common with dom0, it runs before that returns.
  down_ms_ = exact_now_ms() - suspended_at_ms_;
  check(xc_domain_resume(xch_, domid_, 1) == 0, "xc_domain_resume");
  suspended_at_ms_ = 0;
}

}  // namespace romulus::xen
