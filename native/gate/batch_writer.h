/** Many frames into a tap by one system call: a release of a thousand must not take a thousand of them. */
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

struct io_uring_sqe;
struct io_uring_cqe;

namespace romulus::gate {

using Frame = std::span<const uint8_t>;

class BatchWriter {
 public:
  /** Frames of one call of write(), at most. */
  static constexpr size_t kMost = 64;

  BatchWriter() = default;
  ~BatchWriter() { close(); }
  BatchWriter(const BatchWriter&) = delete;
  BatchWriter& operator=(const BatchWriter&) = delete;

  /** Prepares for a non-blocking `fd`. Where the kernel has no io_uring, or forbids it, each frame costs one call. */
  void open(int fd) noexcept;
  /** Writes the frames in order, and returns how many were taken whole. */
  size_t write(std::span<const Frame> frames) noexcept;
  void close() noexcept;

 private:
  bool map(const void* parameters) noexcept;
  size_t write_singly(std::span<const Frame> frames) const noexcept;

  int fd_ = -1;
  int ring_ = -1;
  uint8_t* queues_ = nullptr;
  size_t queues_bytes_ = 0;
  io_uring_sqe* entries_ = nullptr;
  size_t entries_bytes_ = 0;
  uint32_t* submit_tail_ = nullptr;
  uint32_t* submit_slots_ = nullptr;
  uint32_t submit_mask_ = 0;
  uint32_t* complete_head_ = nullptr;
  uint32_t* complete_tail_ = nullptr;
  io_uring_cqe* completions_ = nullptr;
  uint32_t complete_mask_ = 0;
};

}  // namespace romulus::gate
