/** Blocking reads and writes; nothing of a request is believed before check_request(). */
#include "nbd_connection.h"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <algorithm>
#include <thread>

#include "nbd_handshake.h"

namespace romulus::disk::nbd {
namespace {

constexpr unsigned kThreads = 4;
/** A client that has not agreed on options by then is hung up on. */
constexpr timeval kHandshakeTimeout{10, 0};
constexpr timeval kForever{0, 0};
constexpr int kSocketBytes = 1024 * 1024;
/** Room for a few small requests that came together; a large one's data goes to its own place at once. */
constexpr size_t kInBytes = 16 * 1024;
/** Answers that wait for others to leave with, at most. */
constexpr size_t kAnswersBytes = 256 * 1024;
/** What a write of the page cache takes in no time. */
constexpr uint32_t kQuickBytes = 1024 * 1024;
/** A buffer that grew beyond this for one request is given back after it. */
constexpr size_t kKeptBytes = 1024 * 1024;

}  // namespace

Connection::~Connection() { close(socket_); }

void Connection::run() {
  setsockopt(socket_, SOL_SOCKET, SO_SNDBUF, &kSocketBytes, sizeof kSocketBytes);
  setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &kSocketBytes, sizeof kSocketBytes);
  setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &kHandshakeTimeout, sizeof kHandshakeTimeout);
  if (shake_hands()) {
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &kForever, sizeof kForever);
    in_.resize(kInBytes);
    std::vector<std::thread> others;
    for (unsigned i = 1; i < kThreads; i++) others.emplace_back([this] { serve(); });
    serve();
    for (std::thread& other : others) other.join();
  }
  shut();
}

void Connection::shut() noexcept {
  ended_ = true;
  shutdown(socket_, SHUT_RDWR);
}

bool Connection::shake_hands() {
  Handshake handshake(name_, disk_.bytes(), kExportFlags);
  std::vector<uint8_t> in;
  std::vector<uint8_t> out;
  Handshake::greet(out);
  for (;;) {
    if (!send_all(out, {})) return false;
    out.clear();
    if (handshake.state() == Handshake::State::kTransmission) return true;
    if (handshake.state() == Handshake::State::kEnded) return false;
    in.resize(handshake.needs());
    if (!receive(in)) return false;
    handshake.consume(in, out);
  }
}

void Connection::serve() {
  std::vector<uint8_t> data;
  std::unique_lock turn(reading_);
  while (!ended_) {
    Request request;
    if (!next_request(request, data)) break;
    if (carry_out_quickly(request, data)) {
      if (answers_.size() >= kAnswersBytes && !send_answers()) break;
      continue;
    }
    if (!send_answers()) break;
    turn.unlock();
    bool has_answer = false;
    const uint32_t error = carry_out(request, data, has_answer);
    const bool told = answer(request, error, has_answer ? std::span<const uint8_t>(data) : std::span<const uint8_t>());
    if (data.capacity() > kKeptBytes) std::vector<uint8_t>().swap(data);
    turn.lock();
    if (!told) break;
  }
  (void)send_answers();
  shut();
}

/** A request, and for a write its data; false when the client says goodbye, hangs up, or makes no sense. */
bool Connection::next_request(Request& request, std::vector<uint8_t>& data) noexcept {
  uint8_t head[kRequestBytes];
  if (!take(head) || !parse_request(head, request)) return false;
  if (request.command == Command::kDisconnect) return false;
  if (!request.has_data()) return true;
  data.resize(request.bytes);
  return take(data);
}

/** The next bytes of the stream. What has come is used first; answers leave before anything is waited for. */
bool Connection::take(std::span<uint8_t> to) noexcept {
  for (;;) {
    const size_t there = std::min(to.size(), in_end_ - in_begin_);
    std::copy_n(in_.begin() + static_cast<ptrdiff_t>(in_begin_), there, to.begin());
    in_begin_ += there;
    to = to.subspan(there);
    if (to.empty()) return true;
    if (!send_answers()) return false;
    in_begin_ = in_end_ = 0;
    iovec parts[2] = {{to.data(), to.size()}, {in_.data(), in_.size()}};
    const ssize_t got = readv(socket_, parts, 2);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    const auto own = std::min(static_cast<size_t>(got), to.size());
    to = to.subspan(own);
    in_end_ = static_cast<size_t>(got) - own;
    if (to.empty()) return true;
  }
}

/** Carries a request out if that takes no time to speak of, and puts its answer with the others; false if it may take long. */
bool Connection::carry_out_quickly(const Request& request, std::span<const uint8_t> data) noexcept {
  uint32_t error = check_request(request, disk_.bytes());
  const size_t at = answers_.size();
  answers_.resize(at + kReplyBytes);
  if (error == 0) {
    bool done = false;
    if (request.command == Command::kWrite && request.flags == 0 && request.bytes <= kQuickBytes) {
      error = error_of(disk_.write(request.offset, data).error);
      done = true;
    } else if (request.command == Command::kRead && request.bytes <= kAnswersBytes) {
      answers_.resize(at + kReplyBytes + request.bytes);
      done = disk_.read_cached(request.offset, std::span(answers_).subspan(at + kReplyBytes));
    }
    if (!done) {
      answers_.resize(at);
      return false;
    }
  }
  put_reply(std::span(answers_).subspan(at).first<kReplyBytes>(), error, request.cookie);
  return true;
}

bool Connection::send_answers() noexcept {
  if (answers_.empty()) return true;
  bool sent;
  {
    const std::lock_guard lock(writing_);
    sent = send_all(answers_, {});
  }
  answers_.clear();
  return sent;
}

uint32_t Connection::carry_out(const Request& request, std::vector<uint8_t>& data, bool& has_answer) noexcept {
  if (const uint32_t error = check_request(request, disk_.bytes()); error != 0) return error;
  Status status;
  switch (request.command) {
    case Command::kRead:
      data.resize(request.bytes);
      status = disk_.read(request.offset, data);
      has_answer = status.ok();
      break;
    case Command::kWrite:
      status = disk_.write(request.offset, data);
      break;
    case Command::kTrim:
      status = disk_.zero(request.offset, request.bytes, Op::kTrim);
      break;
    case Command::kWriteZeroes:
      status = disk_.zero(request.offset, request.bytes, (request.flags & command_flag::kNoHole) != 0 ? Op::kZero : Op::kTrim);
      break;
    default:
      return error_of(disk_.flush().error);
  }
  if (status.ok() && request.command != Command::kRead && (request.flags & command_flag::kFua) != 0) status = disk_.flush();
  return error_of(status.error);
}

bool Connection::answer(const Request& request, uint32_t error, std::span<const uint8_t> data) noexcept {
  uint8_t head[kReplyBytes];
  put_reply(head, error, request.cookie);
  const std::lock_guard turn(writing_);
  return send_all(head, data);
}

bool Connection::receive(std::span<uint8_t> to) noexcept {
  while (!to.empty()) {
    const ssize_t got = recv(socket_, to.data(), to.size(), 0);
    if (got > 0) to = to.subspan(static_cast<size_t>(got));
    else if (got == 0 || errno != EINTR) return false;
  }
  return true;
}

bool Connection::send_all(std::span<const uint8_t> head, std::span<const uint8_t> data) noexcept {
  while (!head.empty() || !data.empty()) {
    iovec parts[2] = {{const_cast<uint8_t*>(head.data()), head.size()}, {const_cast<uint8_t*>(data.data()), data.size()}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    const ssize_t sent = sendmsg(socket_, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    const auto of_head = std::min(static_cast<size_t>(sent), head.size());
    head = head.subspan(of_head);
    data = data.subspan(static_cast<size_t>(sent) - of_head);
  }
  return true;
}

}  // namespace romulus::disk::nbd
