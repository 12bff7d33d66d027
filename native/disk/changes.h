/**
 * Which blocks of the guest's disk changed in which epoch. A write marks its blocks in the running epoch; seal() makes that
 * the sealed one in no time; take() reads the sealed blocks from the image while the guest runs on. A write to a sealed
 * block not yet read keeps its old content first, so that an epoch is what the disk held at its pause.
 *
 * What is neither acknowledged nor given up never leaves the dirty map.
 */
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <span>
#include <vector>

#include "block_set.h"
#include "dirty_map.h"
#include "disk_image.h"
#include "disk_payload.h"

namespace romulus::disk {

struct ChangesLimits {
  /** Old content kept for the sealed epoch, at most; beyond, writes to its blocks wait until some was sent. */
  uint64_t preserved_bytes = 64 * 1024 * 1024;
  /** Changed in the running epoch: from here on every write is slowed; at half of it on_pressure is called. */
  uint64_t running_bytes = 256 * 1024 * 1024;
};

class Changes {
 public:
  /** What a change under way must hand back to end(). */
  struct Ticket {
    uint64_t generation = 0;
    uint64_t begun = 0;
    bool alone = false;
  };

  Changes(Image& image, DirtyMap& map, ChangesLimits limits, std::function<void()> on_pressure)
      : image_(image), map_(map), limits_(limits), on_pressure_(std::move(on_pressure)) {}
  Status create() noexcept;

  /** Before the image is changed. May wait: for a block being read, for room, or to slow a guest that writes too fast. */
  Status begin(uint64_t offset, uint64_t bytes, Ticket& ticket) noexcept;
  /** After it was, or was tried. */
  void end(uint64_t offset, uint64_t bytes, Op op, const Ticket& ticket) noexcept;

  /**
   * All that changed so far belongs to `epoch`. Call it while the guest is paused and its requests are answered. Epoch 0 is
   * the copying beside a running guest: nothing is kept for it, since what is overwritten is sent again.
   */
  void seal(uint64_t epoch) noexcept;
  /** Fills `payload` with records of the sealed epoch; `used` 0: there are no more. On error all is as after give_up(). */
  Status take(std::span<uint8_t> payload, size_t& used) noexcept;
  /** The other host has these epochs. */
  void commit(uint64_t epoch) noexcept;
  /** What was sealed and not committed belongs to the running epoch again. */
  void give_up() noexcept;
  /** The running epoch is all that the dirty map names; with `holes`, holes of the image are sent as such. */
  void begin_copy(bool holes) noexcept;
  /** Slows nobody and reports no pressure: nobody takes epochs. */
  void set_paced(bool paced) noexcept;

  uint64_t running_bytes() noexcept;
  uint64_t sealed_bytes() noexcept;
  uint64_t preserved_bytes() noexcept;

 private:
  struct Preserved {
    Run run;
    std::vector<uint8_t> data;
  };
  struct InFlight {
    uint64_t epoch;
    std::vector<Run> runs;
    /** Taken whole, and in order. */
    bool sorted;
  };

  uint64_t clipped(Run run) const noexcept;
  bool preserve(Run run, std::unique_lock<std::mutex>& lock, Status& status) noexcept;
  void give_up_locked() noexcept;
  size_t take_preserved(std::span<uint8_t> payload) noexcept;
  bool take_zeroed(uint8_t* at, Run run) noexcept;
  bool in_use(Run run) const noexcept;
  void settle(const InFlight& done) noexcept;

  Image& image_;
  DirtyMap& map_;
  const ChangesLimits limits_;
  const std::function<void()> on_pressure_;

  std::mutex mutex_;
  std::condition_variable changed_;
  /** Changed since the last seal; of these, known to read as zeros; of these, with their space kept. */
  BlockSet running_;
  BlockSet zeroed_;
  BlockSet reserved_;
  /** The same three of the sealed epoch, as far as take() has not come. */
  BlockSet sealed_;
  BlockSet sealed_zeroed_;
  BlockSet sealed_reserved_;
  std::deque<Preserved> preserved_;
  uint64_t preserved_bytes_ = 0;
  std::deque<InFlight> in_flight_;
  /** Being read by take(): whoever writes there waits. */
  Run busy_;
  bool live_ = false;
  bool paced_ = false;
  bool pressed_ = false;
  uint64_t cursor_ = 0;
  uint64_t generation_ = 0;
  uint64_t begun_ = 0;
  uint64_t under_way_ = 0;
};

}  // namespace romulus::disk
