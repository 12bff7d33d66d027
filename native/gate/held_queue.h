/** Outgoing frames in order, each labelled with the epoch whose commit sets it free. No locks, no clocks, no sockets. */
#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <limits>
#include <memory>
#include <span>

namespace romulus::gate {

struct HeldFrame {
  /** Epoch it belongs to, or kUnsealed while that epoch has not ended. */
  uint64_t epoch;
  /** When it was taken in, in nanoseconds of the caller's clock. */
  uint64_t since_ns;
  uint32_t bytes;
  std::unique_ptr<uint8_t[]> data;

  std::span<const uint8_t> view() const noexcept { return {data.get(), bytes}; }
};

inline constexpr uint64_t kUnsealed = std::numeric_limits<uint64_t>::max();

class HeldQueue {
 public:
  HeldQueue(uint64_t max_bytes, uint64_t max_packets) noexcept : max_bytes_(max_bytes), max_packets_(max_packets) {}

  /** At the bound nothing more may be taken in: whoever sends must wait. */
  bool full() const noexcept { return bytes_ >= max_bytes_ || frames_.size() >= max_packets_; }

  /** Half of a bound is reached: time to shorten epochs. */
  bool pressing() const noexcept { return bytes_ * 2 >= max_bytes_ || frames_.size() * 2 >= max_packets_; }

  void push(std::span<const uint8_t> frame, uint64_t now_ns) {
    HeldFrame held{kUnsealed, now_ns, static_cast<uint32_t>(frame.size()), std::make_unique<uint8_t[]>(frame.size())};
    std::memcpy(held.data.get(), frame.data(), frame.size());
    bytes_ += frame.size();
    frames_.push_back(std::move(held));
  }

  /**
   * Everything held belongs to `epoch` at the latest. A frame of a later label comes from an epoch that was given up
   * (or from a lineage that counted further): the state it follows from is part of `epoch` now.
   */
  void seal(uint64_t epoch) noexcept {
    for (auto frame = frames_.rbegin(); frame != frames_.rend() && frame->epoch > epoch; ++frame) frame->epoch = epoch;
  }

  /** Fills `out` with the oldest frames that belong to `epoch` or earlier, and returns how many there are. */
  size_t next(uint64_t epoch, std::span<std::span<const uint8_t>> out) const noexcept {
    size_t count = 0;
    for (auto frame = frames_.begin(); count < out.size() && frame != frames_.end() && frame->epoch <= epoch; ++frame) {
      out[count++] = frame->view();
    }
    return count;
  }

  void pop(size_t count) noexcept {
    for (; count > 0; count--) {
      bytes_ -= frames_.front().bytes;
      frames_.pop_front();
    }
  }

  void clear() noexcept {
    frames_.clear();
    bytes_ = 0;
  }

  uint64_t packets() const noexcept { return frames_.size(); }
  uint64_t bytes() const noexcept { return bytes_; }
  /** When the oldest frame was taken in; 0 if none is held. */
  uint64_t oldest_ns() const noexcept { return frames_.empty() ? 0 : frames_.front().since_ns; }

 private:
  const uint64_t max_bytes_;
  const uint64_t max_packets_;
  uint64_t bytes_ = 0;
  std::deque<HeldFrame> frames_;
};

}  // namespace romulus::gate
