/**
 * io_uring without a library: three system calls are all it takes here. A non-blocking tap takes or refuses each frame
 * within the submitting call, so frames keep their order, and a stopped process cannot be stopped in mid-batch.
 */
#include "batch_writer.h"

#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

namespace romulus::gate {
namespace {

uint32_t load(uint32_t* at) noexcept { return std::atomic_ref(*at).load(std::memory_order_acquire); }
void store(uint32_t* at, uint32_t value) noexcept { std::atomic_ref(*at).store(value, std::memory_order_release); }

}  // namespace

void BatchWriter::open(int fd) noexcept {
  close();
  fd_ = fd;
  io_uring_params parameters{};
  ring_ = static_cast<int>(syscall(SYS_io_uring_setup, kMost, &parameters));
  if (ring_ >= 0 && !((parameters.features & IORING_FEAT_SINGLE_MMAP) && map(&parameters))) close();
  fd_ = fd;
}

bool BatchWriter::map(const void* given) noexcept {
  const auto& parameters = *static_cast<const io_uring_params*>(given);
  const auto& sq = parameters.sq_off;
  const auto& cq = parameters.cq_off;
  queues_bytes_ = std::max(sq.array + parameters.sq_entries * sizeof(uint32_t),
                           cq.cqes + parameters.cq_entries * sizeof(io_uring_cqe));
  entries_bytes_ = parameters.sq_entries * sizeof(io_uring_sqe);
  constexpr int kProtection = PROT_READ | PROT_WRITE;
  constexpr int kFlags = MAP_SHARED | MAP_POPULATE;
  void* queues = mmap(nullptr, queues_bytes_, kProtection, kFlags, ring_, IORING_OFF_SQ_RING);
  if (queues == MAP_FAILED) return false;
  queues_ = static_cast<uint8_t*>(queues);
  void* entries = mmap(nullptr, entries_bytes_, kProtection, kFlags, ring_, IORING_OFF_SQES);
  if (entries == MAP_FAILED) return false;
  entries_ = static_cast<io_uring_sqe*>(entries);
  const auto word = [this](uint32_t offset) { return reinterpret_cast<uint32_t*>(queues_ + offset); };
  submit_tail_ = word(sq.tail);
  submit_slots_ = word(sq.array);
  submit_mask_ = *word(sq.ring_mask);
  complete_head_ = word(cq.head);
  complete_tail_ = word(cq.tail);
  complete_mask_ = *word(cq.ring_mask);
  completions_ = reinterpret_cast<io_uring_cqe*>(queues_ + cq.cqes);
  return true;
}

size_t BatchWriter::write(std::span<const Frame> frames) noexcept {
  if (ring_ < 0 || frames.size() < 2) return write_singly(frames);
  const uint32_t tail = *submit_tail_;
  for (uint32_t i = 0; i < frames.size(); i++) {
    const uint32_t slot = (tail + i) & submit_mask_;
    io_uring_sqe& entry = entries_[slot] = {};
    entry.opcode = IORING_OP_WRITE;
    entry.fd = fd_;
    entry.addr = reinterpret_cast<uint64_t>(frames[i].data());
    entry.len = static_cast<uint32_t>(frames[i].size());
    entry.user_data = i;
    submit_slots_[slot] = slot;
  }
  const auto count = static_cast<uint32_t>(frames.size());
  store(submit_tail_, tail + count);
  size_t taken = 0;
  uint32_t submitted = 0;
  for (uint32_t completed = 0; completed < count;) {
    const long entered = syscall(SYS_io_uring_enter, ring_, count - submitted, count - completed,
                                 IORING_ENTER_GETEVENTS, nullptr, 0);
    if (entered < 0 && errno != EINTR && errno != EAGAIN) {
      // What was submitted is out; the rest goes the plain way, now and from now on.
      const int fd = fd_;
      close();
      fd_ = fd;
      return taken + write_singly(frames.subspan(submitted));
    }
    if (entered > 0) submitted += static_cast<uint32_t>(entered);
    uint32_t head = *complete_head_;
    for (const uint32_t end = load(complete_tail_); head != end; head++, completed++) {
      const io_uring_cqe& done = completions_[head & complete_mask_];
      if (done.res == static_cast<int32_t>(frames[done.user_data].size())) taken++;
    }
    store(complete_head_, head);
  }
  return taken;
}

size_t BatchWriter::write_singly(std::span<const Frame> frames) const noexcept {
  size_t taken = 0;
  for (const Frame& frame : frames) {
    if (::write(fd_, frame.data(), frame.size()) == static_cast<ssize_t>(frame.size())) taken++;
  }
  return taken;
}

void BatchWriter::close() noexcept {
  if (entries_ != nullptr) munmap(entries_, entries_bytes_);
  if (queues_ != nullptr) munmap(queues_, queues_bytes_);
  if (ring_ >= 0) ::close(ring_);
  entries_ = nullptr;
  queues_ = nullptr;
  ring_ = -1;
  fd_ = -1;
}

}  // namespace romulus::gate
