/** One lock around all state; the thread lets go of it after every few frames, so that seal() never waits long. */
#include "relay.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "tap.h"

namespace romulus::gate {
namespace {

/** Frames moved each way before the lock is offered to others. */
constexpr unsigned kBatch = 128;
constexpr timeval kConnectTimeout{0, 200'000};

void modify(int epoll, int fd, uint32_t& armed, uint32_t wanted) noexcept {
  if (armed == wanted) return;
  epoll_event event{};
  event.events = wanted;
  event.data.fd = fd;
  epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
  armed = wanted;
}

bool add(int epoll, int fd, uint32_t events) noexcept {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

void close_once(int& fd) noexcept {
  if (fd >= 0) close(fd);
  fd = -1;
}

}  // namespace

uint64_t boot_ns() noexcept {
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

Relay::Relay(uint64_t max_bytes, uint64_t max_packets, std::function<void(Event)> on_event)
    : on_event_(std::move(on_event)), held_(max_bytes, max_packets) {}

Relay::~Relay() { end(); }

Status Relay::start(const std::string& tap, const std::string& bridge) noexcept {
  if (const Status status = open_tap(tap, bridge, tap_); !status.ok()) return status;
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  wake_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  tap_events_ = EPOLLIN;
  if (epoll_ < 0 || wake_ < 0 || !add(epoll_, wake_, EPOLLIN) || !add(epoll_, tap_, EPOLLIN)) {
    const int error = errno;
    end();
    return {error, "cannot watch the tap"};
  }
  to_world_.open(tap_);
  thread_ = std::thread([this] { run(); });
  return {};
}

Status Relay::connect(const std::string& path) noexcept {
  sockaddr_un address{};
  if (path.size() >= sizeof address.sun_path) return {ENAMETOOLONG, "too long a path for a unix socket"};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  int socket = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (socket < 0) return {errno, "cannot open a socket"};
  // A unix socket connects at once, unless a QEMU that does not come to accepting has its backlog full.
  setsockopt(socket, SOL_SOCKET, SO_SNDTIMEO, &kConnectTimeout, sizeof kConnectTimeout);
  if (::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) {
    const int error = errno;
    close(socket);
    return {error, "cannot connect to QEMU's network socket"};
  }
  const std::lock_guard lock(mutex_);
  if (epoll_ < 0) {
    close(socket);
    return {EBADF, "the relay has ended"};
  }
  disconnect();
  lost_ = false;
  guest_ = socket;
  guest_events_ = EPOLLIN;
  if (!add(epoll_, guest_, EPOLLIN)) {
    const int error = errno;
    disconnect();
    return {error, "cannot watch QEMU's network socket"};
  }
  return {};
}

void Relay::seal(uint64_t epoch) noexcept {
  const std::lock_guard lock(mutex_);
  // What the guest sent before it was paused lies in the socket by now, and belongs to this epoch.
  read_guest(true);
  if (open_) flush(~0u);
  open_ = false;
  held_.seal(epoch);
  // Nobody can have acknowledged it yet: a permit that reaches further was given in a lineage that is over.
  if (permitted_epoch_ >= epoch) permitted_epoch_ = epoch - 1;
  watch();
}

void Relay::release(uint64_t epoch, uint64_t until_ns) noexcept {
  const std::lock_guard lock(mutex_);
  if (open_) return;
  permitted_epoch_ = epoch;
  permit_until_ns_ = until_ns;
  release_began_ns_ = 0;
  wake();
}

void Relay::open() noexcept {
  const std::lock_guard lock(mutex_);
  open_ = true;
  wake();
}

void Relay::shut() noexcept {
  const std::lock_guard lock(mutex_);
  open_ = false;
  permitted_epoch_ = 0;
  permit_until_ns_ = 0;
}

void Relay::discard() noexcept {
  const std::lock_guard lock(mutex_);
  read_guest(true);
  held_.clear();
  pressed_ = false;
  watch();
}

Status Relay::inject(std::span<const uint8_t> frame) noexcept {
  const std::lock_guard lock(mutex_);
  if (!open_) return {EPERM, "the gate is shut"};
  if (frame.empty() || frame.size() > kMaxFrameBytes) return {EINVAL, "not a frame"};
  emit({&frame, 1});
  return {};
}

RelayCounts Relay::counts() noexcept {
  const std::lock_guard lock(mutex_);
  RelayCounts counts = counts_;
  counts.held_packets = held_.packets();
  counts.held_bytes = held_.bytes();
  counts.oldest_held_ns = held_.packets() == 0 ? 0 : boot_ns() - held_.oldest_ns();
  counts.connected = guest_ >= 0;
  counts.open = open_;
  return counts;
}

void Relay::end() noexcept {
  ending_ = true;
  if (thread_.joinable()) {
    wake();
    thread_.join();
  }
  const std::lock_guard lock(mutex_);
  disconnect();
  to_world_.close();
  close_once(tap_);
  close_once(wake_);
  close_once(epoll_);
  held_.clear();
}

void Relay::run() noexcept {
  bool more = false;
  while (!ending_) {
    epoll_event events[3];
    const int count = epoll_wait(epoll_, events, 3, more ? 0 : -1);
    if (count < 0 && errno != EINTR) return;
    bool pressing;
    bool lost;
    {
      const std::lock_guard lock(mutex_);
      for (int i = 0; i < count; i++) {
        if (events[i].data.fd != wake_) continue;
        uint64_t ignored;
        if (read(wake_, &ignored, sizeof ignored) < 0) continue;
      }
      more = flush(kBatch);
      more |= read_guest(false);
      more |= open_ && held_.packets() > 0;
      pump_in();
      watch();
      const bool now = held_.pressing();
      pressing = now && !pressed_;
      pressed_ = now;
      lost = lost_;
      lost_ = false;
    }
    if (pressing) on_event_(Event::kPressure);
    if (lost) on_event_(Event::kDisconnected);
  }
}

/**
 * Takes in what the guest has sent, up to the bound of the queue: beyond it QEMU has to wait, and the guest with it.
 * True if it stopped for the sake of others, with more at hand.
 */
bool Relay::read_guest(bool to_the_end) noexcept {
  for (unsigned frames = 0; guest_ >= 0;) {
    Frame frame;
    FrameReader::Outcome outcome = FrameReader::Outcome::kMore;
    while (!held_.full() && (outcome = from_guest_.next(frame)) == FrameReader::Outcome::kFrame) {
      take(frame);
      frames++;
    }
    if (outcome == FrameReader::Outcome::kMalformed) break;
    if (held_.full()) return false;
    if (!to_the_end && frames >= kBatch) return true;
    const std::span<uint8_t> room = from_guest_.room();
    const ssize_t got = recv(guest_, room.data(), room.size(), MSG_DONTWAIT);
    if (got > 0) from_guest_.filled(static_cast<size_t>(got));
    else if (got < 0 && errno == EAGAIN) return false;
    else if (got == 0 || errno != EINTR) break;
  }
  disconnect();
  return false;
}

void Relay::take(Frame frame) noexcept {
  if (open_ && held_.packets() == 0) return emit({&frame, 1});
  held_.push(frame, boot_ns());
}

/** Lets out up to `most` frames that may go; true if there may be more. The clock is read before every batch. */
bool Relay::flush(unsigned most) noexcept {
  const uint64_t epoch = open_ ? kUnsealed : permitted_epoch_;
  Frame batch[BatchWriter::kMost];
  for (unsigned sent = 0; sent < most;) {
    const size_t count = held_.next(epoch, batch);
    if (count == 0) {
      if (sent > 0) counts_.release_ns = boot_ns() - release_began_ns_;
      return false;
    }
    const uint64_t now = boot_ns();
    if (!open_ && now >= permit_until_ns_) {
      permitted_epoch_ = 0;
      return false;
    }
    if (release_began_ns_ == 0) release_began_ns_ = now;
    emit({batch, count});
    held_.pop(count);
    sent += static_cast<unsigned>(count);
  }
  return true;
}

void Relay::emit(std::span<const Frame> frames) noexcept {
  const size_t taken = to_world_.write(frames);
  counts_.out_packets += taken;
  counts_.refused_packets += frames.size() - taken;
  for (const Frame& frame : frames) counts_.out_bytes += frame.size();
}

/** Frames for the guest pass at once; while QEMU takes none, they wait in the tap's own queue. */
void Relay::pump_in() noexcept {
  for (unsigned frames = 0; frames < kBatch; frames++) {
    while (guest_ >= 0 && !to_guest_.pending().empty()) {
      const auto pending = to_guest_.pending();
      const ssize_t sent = send(guest_, pending.data(), pending.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent > 0) to_guest_.sent(static_cast<size_t>(sent));
      else if (errno == EAGAIN) return;
      else if (errno != EINTR) disconnect();
    }
    const auto room = to_guest_.room();
    const ssize_t got = read(tap_, room.data(), room.size());
    if (got <= 0) return;
    if (guest_ < 0) continue;
    to_guest_.put(static_cast<uint32_t>(got));
    counts_.in_packets++;
  }
}

void Relay::watch() noexcept {
  const bool blocked = guest_ >= 0 && !to_guest_.pending().empty();
  modify(epoll_, tap_, tap_events_, blocked ? 0 : uint32_t{EPOLLIN});
  if (guest_ < 0) return;
  const uint32_t in = held_.full() ? 0 : uint32_t{EPOLLIN};
  modify(epoll_, guest_, guest_events_, in | (blocked ? uint32_t{EPOLLOUT} : 0));
}

void Relay::disconnect() noexcept {
  if (guest_ < 0) return;
  close_once(guest_);  // which also takes it out of the epoll set
  from_guest_.reset();
  to_guest_.reset();
  lost_ = true;
}

void Relay::wake() noexcept {
  const uint64_t one = 1;
  if (wake_ >= 0 && write(wake_, &one, sizeof one) < 0) return;  // full: the thread is being woken already
}

}  // namespace romulus::gate
