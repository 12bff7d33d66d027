/**
 * The output gate between QEMU's stream netdev and a tap: a thread of its own, so that frames come in while JavaScript
 * is busy, and so that nothing goes out once the process is dead or its permit has run out.
 */
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <string>
#include <thread>

#include "../engine/status.h"
#include "batch_writer.h"
#include "frame_stream.h"
#include "held_queue.h"

namespace romulus::gate {

/** CLOCK_BOOTTIME, which goes on while the machine sleeps: the clock of permits (safety rule 3). */
uint64_t boot_ns() noexcept;

struct RelayCounts {
  uint64_t held_packets = 0;
  uint64_t held_bytes = 0;
  /** How long the oldest held frame has waited. */
  uint64_t oldest_held_ns = 0;
  uint64_t out_packets = 0;
  uint64_t out_bytes = 0;
  uint64_t in_packets = 0;
  /** Released frames that the tap refused, as when an operator sets it down. */
  uint64_t refused_packets = 0;
  /** From the first frame of the last release to its last. */
  uint64_t release_ns = 0;
  bool connected = false;
  bool open = false;
};

class Relay {
 public:
  /** `kPressure`: half of a bound is reached. `kDisconnected`: QEMU is gone, or no longer speaks in frames. */
  enum class Event { kPressure, kDisconnected };

  /** `on_event` is called on the relay's thread. */
  Relay(uint64_t max_bytes, uint64_t max_packets, std::function<void(Event)> on_event);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  /** Opens the tap and starts the thread, shut. Until connect(), what the tap receives is thrown away. */
  Status start(const std::string& tap, const std::string& bridge) noexcept;
  /** Connects to QEMU's listening socket; frames it has sent before are lost, as on a cable just plugged in. */
  Status connect(const std::string& path) noexcept;
  /** All output up to now belongs to `epoch`; from now on output is held. Call it while the guest is paused. */
  void seal(uint64_t epoch) noexcept;
  /** Lets out what belongs to epochs up to `epoch`, as long as boot_ns() is below `until_ns`. */
  void release(uint64_t epoch, uint64_t until_ns) noexcept;
  /** Lets everything out, held or to come, until seal() or shut(). */
  void open() noexcept;
  /** Nothing leaves; permits given before are void. What is held stays held. */
  void shut() noexcept;
  /** Throws away what is held: a fenced guest's output must never leave. */
  void discard() noexcept;
  /** Writes a frame of our own on the tap, past the queue (announcements); EPERM while shut. */
  Status inject(std::span<const uint8_t> frame) noexcept;
  RelayCounts counts() noexcept;
  /** Ends the thread and closes tap and socket. What is held is dropped. */
  void end() noexcept;

 private:
  void run() noexcept;
  bool read_guest(bool to_the_end) noexcept;
  void take(Frame frame) noexcept;
  bool flush(unsigned most) noexcept;
  void emit(std::span<const Frame> frames) noexcept;
  void pump_in() noexcept;
  void watch() noexcept;
  void disconnect() noexcept;
  void wake() noexcept;

  const std::function<void(Event)> on_event_;
  std::mutex mutex_;
  HeldQueue held_;
  BatchWriter to_world_;
  FrameReader from_guest_;
  FrameWriter to_guest_;
  RelayCounts counts_;
  uint64_t permitted_epoch_ = 0;
  uint64_t permit_until_ns_ = 0;
  uint64_t release_began_ns_ = 0;
  bool open_ = false;
  bool pressed_ = false;
  bool lost_ = false;
  int epoll_ = -1;
  int wake_ = -1;
  int tap_ = -1;
  int guest_ = -1;
  uint32_t tap_events_ = 0;
  uint32_t guest_events_ = 0;
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

}  // namespace romulus::gate
