/** One lock around all sets; image reads of take() happen outside it, with their range marked busy. */
#include "changes.h"

#include <algorithm>
#include <cerrno>
#include <chrono>

namespace romulus::disk {
namespace {

using namespace std::chrono_literals;

/** A write beyond the bound of the running epoch waits so long: the guest is slowed, and its pause can still drain it. */
constexpr auto kSlowed = 10ms;
/** Old content is kept in pieces of at most this, a quarter of the smallest payload. */
constexpr uint64_t kPieceBlocks = 64;

void sort_and_join(std::vector<Run>& runs) {
  std::sort(runs.begin(), runs.end(), [](const Run& a, const Run& b) { return a.first < b.first; });
  std::vector<Run> joined;
  for (const Run& run : runs) {
    if (!joined.empty() && joined.back().end() >= run.first) {
      joined.back().count = std::max(joined.back().end(), run.end()) - joined.back().first;
    } else {
      joined.push_back(run);
    }
  }
  runs = std::move(joined);
}

bool names(const std::vector<Run>& sorted, Run run) noexcept {
  const auto after = std::upper_bound(sorted.begin(), sorted.end(), run.first, [](uint64_t first, const Run& each) { return first < each.first; });
  return (after != sorted.end() && after->overlaps(run)) || (after != sorted.begin() && std::prev(after)->overlaps(run));
}

}  // namespace

Status Changes::create() noexcept {
  const uint64_t blocks = (image_.bytes() + kBlockBytes - 1) / kBlockBytes;
  for (BlockSet* set : {&running_, &zeroed_, &reserved_, &sealed_, &sealed_zeroed_, &sealed_reserved_}) {
    if (const Status status = set->create(blocks); !status.ok()) return status;
  }
  return {};
}

/** Bytes of a run that the disk really has: its last block may be shorter. */
uint64_t Changes::clipped(Run run) const noexcept {
  return std::min(run.end() * kBlockBytes, image_.bytes()) - run.first * kBlockBytes;
}

Status Changes::begin(uint64_t offset, uint64_t bytes, Ticket& ticket) noexcept {
  if (const Status status = map_.mark(offset, bytes); !status.ok()) return status;
  const Run run = blocks_touched(offset, bytes);
  bool pressing = false;
  {
    std::unique_lock lock(mutex_);
    if (paced_ && running_.count() * kBlockBytes >= limits_.running_bytes) {
      const uint64_t generation = generation_;
      changed_.wait_for(lock, kSlowed, [&] { return generation_ != generation; });
    }
    Status status;
    while (preserve(run, lock, status)) {}
    if (!status.ok()) return status;
    running_.set(run);
    zeroed_.clear(run);
    reserved_.clear(run);
    under_way_++;
    begun_++;
    ticket = {generation_, begun_, under_way_ == 1};
    if (paced_ && !pressed_ && running_.count() * kBlockBytes * 2 >= limits_.running_bytes) pressed_ = pressing = true;
  }
  if (pressing) on_pressure_();
  return {};
}

/** Keeps the next piece of what `run` would overwrite of the sealed epoch; false when nothing is left to keep. */
bool Changes::preserve(Run run, std::unique_lock<std::mutex>& lock, Status& status) noexcept {
  if (busy_.count > 0 && busy_.overlaps(run) && !live_) {
    changed_.wait(lock);
    return true;
  }
  if (live_ || sealed_.count() == 0) return false;
  // What reads as zeros by its mark need not be kept: the mark says it all.
  Run piece = sealed_.next(run.first, run.end());
  while (piece.count > 0 && sealed_zeroed_.test(piece.first)) {
    const Run zeroed = sealed_zeroed_.next(piece.first, piece.end());
    piece = sealed_.next(zeroed.end(), run.end());
  }
  if (piece.count == 0) return false;
  if (preserved_bytes_ >= limits_.preserved_bytes) {
    changed_.wait(lock);
    return true;
  }
  if (const Run zeroed = sealed_zeroed_.next(piece.first, piece.end()); zeroed.count > 0) piece.count = zeroed.first - piece.first;
  piece.count = std::min(piece.count, kPieceBlocks);
  Preserved kept{piece, std::vector<uint8_t>(clipped(piece))};
  status = image_.read(piece.first * kBlockBytes, kept.data);
  if (!status.ok()) return false;
  sealed_.clear(piece);
  preserved_bytes_ += kept.data.size();
  preserved_.push_back(std::move(kept));
  return true;
}

void Changes::end(uint64_t offset, uint64_t bytes, Op op, const Ticket& ticket) noexcept {
  const std::lock_guard lock(mutex_);
  under_way_--;
  // A seal came between (only beside a running guest): which epoch the bytes are in is open, so they are sent again.
  if (ticket.generation != generation_) running_.set(blocks_touched(offset, bytes));
  // Known zeros only if nobody else can have written there meanwhile; otherwise the image is asked when it is read.
  if (op == Op::kData || !ticket.alone || ticket.begun != begun_ || ticket.generation != generation_) return;
  const Run whole = blocks_within(offset, bytes, image_.bytes());
  if (whole.count == 0) return;
  zeroed_.set(whole);
  if (op == Op::kZero) reserved_.set(whole);
}

void Changes::seal(uint64_t epoch) noexcept {
  const std::lock_guard lock(mutex_);
  if (sealed_.count() > 0 || !preserved_.empty()) give_up_locked();
  running_.swap(sealed_);
  zeroed_.swap(sealed_zeroed_);
  reserved_.swap(sealed_reserved_);
  // An epoch captured anew keeps what its first try had sent: nobody acknowledged that.
  while (!in_flight_.empty() && in_flight_.back().epoch >= epoch && epoch > 0) {
    for (const Run& run : in_flight_.back().runs) sealed_.set(run);
    in_flight_.pop_back();
  }
  if (in_flight_.empty() || in_flight_.back().epoch != epoch) in_flight_.push_back({epoch, {}, false});
  in_flight_.back().sorted = false;
  live_ = epoch == 0;
  pressed_ = false;
  cursor_ = 0;
  generation_++;
  changed_.notify_all();
}

Status Changes::take(std::span<uint8_t> payload, size_t& used) noexcept {
  used = 0;
  std::unique_lock lock(mutex_);
  while (used + kRecordBytes + kBlockBytes <= payload.size()) {
    uint8_t* const at = payload.data() + used;
    if (!preserved_.empty()) {
      const size_t bytes = take_preserved(payload.subspan(used));
      if (bytes == 0) break;
      used += bytes;
      continue;
    }
    Run run = sealed_.next(cursor_, sealed_.blocks());
    if (run.count == 0) break;
    cursor_ = run.first;
    if (take_zeroed(at, run)) {
      used += kRecordBytes;
      continue;
    }
    if (const Run zeroed = sealed_zeroed_.next(run.first, run.end()); zeroed.count > 0) run.count = zeroed.first - run.first;
    run.count = std::min(run.count, (payload.size() - used - kRecordBytes) / kBlockBytes);
    sealed_.clear(run);
    busy_ = run;
    const uint64_t bytes = clipped(run);
    const uint64_t generation = generation_;
    lock.unlock();
    const Status status = image_.read(run.first * kBlockBytes, {at + kRecordBytes, bytes});
    lock.lock();
    busy_ = {};
    changed_.notify_all();
    if (generation != generation_) {  // given up meanwhile: what was read belongs to nothing
      running_.set(run);
      used = 0;
      return {ECANCELED, "the epoch was given up"};
    }
    if (!status.ok()) {
      running_.set(run);
      give_up_locked();
      used = 0;
      return status;
    }
    put_record(at, {run.first * kBlockBytes, bytes, Op::kData});
    in_flight_.back().runs.push_back(run);
    used += kRecordBytes + bytes;
  }
  if (used == 0 && !in_flight_.empty()) {
    sealed_zeroed_.clear_all();
    sealed_reserved_.clear_all();
    sort_and_join(in_flight_.back().runs);
    in_flight_.back().sorted = true;
  }
  return {};
}

/** Records of kept content, as many as fit; 0 if not even one does. */
size_t Changes::take_preserved(std::span<uint8_t> payload) noexcept {
  Preserved& kept = preserved_.front();
  const size_t bytes = kRecordBytes + kept.data.size();
  if (bytes > payload.size()) {
    // A piece is smaller than any payload is when empty, so it comes first in the next one.
    return 0;
  }
  put_record(payload.data(), {kept.run.first * kBlockBytes, kept.data.size(), Op::kData});
  std::copy(kept.data.begin(), kept.data.end(), payload.data() + kRecordBytes);
  in_flight_.back().runs.push_back(kept.run);
  preserved_bytes_ -= kept.data.size();
  preserved_.pop_front();
  changed_.notify_all();
  return bytes;
}

/** One record for the blocks known as zeros at the beginning of `run`; false if there are none. */
bool Changes::take_zeroed(uint8_t* at, Run run) noexcept {
  if (!sealed_zeroed_.test(run.first)) return false;
  run = sealed_zeroed_.next(run.first, run.end());
  const bool kept = sealed_reserved_.test(run.first);
  run.count = kept ? sealed_reserved_.next(run.first, run.end()).count : sealed_reserved_.next(run.first, run.end(), false).count;
  sealed_.clear(run);
  put_record(at, {run.first * kBlockBytes, clipped(run), kept ? Op::kZero : Op::kTrim});
  in_flight_.back().runs.push_back(run);
  return true;
}

void Changes::commit(uint64_t epoch) noexcept {
  const std::lock_guard lock(mutex_);
  while (!in_flight_.empty() && in_flight_.front().epoch <= epoch) {
    const InFlight done = std::move(in_flight_.front());
    in_flight_.pop_front();
    settle(done);
  }
}

/** Takes out of the dirty map what no later epoch changed. */
void Changes::settle(const InFlight& done) noexcept {
  const uint64_t per_map_block = map_.block_bytes() / kBlockBytes;
  for (const Run& run : done.runs) {
    for (uint64_t block = run.first / per_map_block; block * per_map_block < run.end(); block++) {
      if (!in_use({block * per_map_block, per_map_block})) map_.clear(block, block + 1);
    }
  }
}

bool Changes::in_use(Run run) const noexcept {
  if (running_.intersects(run) || sealed_.intersects(run)) return true;
  if (std::any_of(preserved_.begin(), preserved_.end(), [&](const Preserved& kept) { return kept.run.overlaps(run); })) return true;
  return std::any_of(in_flight_.begin(), in_flight_.end(), [&](const InFlight& other) {
    if (other.sorted) return names(other.runs, run);
    return std::any_of(other.runs.begin(), other.runs.end(), [&](const Run& each) { return each.overlaps(run); });
  });
}

void Changes::give_up() noexcept {
  const std::lock_guard lock(mutex_);
  give_up_locked();
  in_flight_.clear();
}

/** The sealed epoch alone; its blocks count as data from now on, whatever they were. */
void Changes::give_up_locked() noexcept {
  const auto back = [this](Run run) { running_.set(run); };
  for (Run run = sealed_.next(0, sealed_.blocks()); run.count > 0; run = sealed_.next(run.end(), sealed_.blocks())) back(run);
  for (const Preserved& kept : preserved_) back(kept.run);
  for (const InFlight& each : in_flight_) {
    for (const Run& run : each.runs) back(run);
  }
  for (InFlight& each : in_flight_) each.runs.clear();
  sealed_.clear_all();
  sealed_zeroed_.clear_all();
  sealed_reserved_.clear_all();
  preserved_.clear();
  preserved_bytes_ = 0;
  generation_++;
  changed_.notify_all();
}

void Changes::begin_copy(bool holes) noexcept {
  give_up();
  const std::lock_guard lock(mutex_);
  const uint64_t per_map_block = map_.block_bytes() / kBlockBytes;
  uint64_t first = 0;
  for (uint64_t end = 0; map_.next(end, first, end);) {
    const uint64_t begin = first * per_map_block;
    running_.set({begin, std::min(end * per_map_block, running_.blocks()) - begin});
  }
  if (!holes || under_way_ > 0) return;
  uint64_t begin = 0;
  for (uint64_t end = 0; image_.next_hole(end, begin, end);) {
    const Run whole = blocks_within(begin, end - begin, image_.bytes());
    for (Run run = running_.next(whole.first, whole.end()); run.count > 0; run = running_.next(run.end(), whole.end())) zeroed_.set(run);
  }
}

void Changes::set_paced(bool paced) noexcept {
  const std::lock_guard lock(mutex_);
  paced_ = paced;
  pressed_ = false;
}

uint64_t Changes::running_bytes() noexcept {
  const std::lock_guard lock(mutex_);
  return running_.count() * kBlockBytes;
}

uint64_t Changes::sealed_bytes() noexcept {
  const std::lock_guard lock(mutex_);
  return sealed_.count() * kBlockBytes;
}

uint64_t Changes::preserved_bytes() noexcept {
  const std::lock_guard lock(mutex_);
  return preserved_bytes_;
}

}  // namespace romulus::disk
