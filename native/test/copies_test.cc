/** The copies payload: what is written is read, and nothing else; and an epoch with copies can be applied again wherever it was stopped. */
#include "../engine/copies.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "../engine/epoch_parts.h"
#include "../engine/pages.h"
#include "pair.h"

using namespace romulus;
using namespace romulus::test;

namespace {

Bytes written(const std::vector<CopyRun>& runs) {
  Bytes payload(kCopiesHeaderBytes + runs.size() * kMaxCopyRunBytes);
  payload.resize(write_copies(runs, payload.data()));
  return payload;
}

bool same(const std::vector<CopyRun>& a, const std::vector<CopyRun>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const CopyRun& x, const CopyRun& y) {
    return x.target == y.target && x.source == y.source && x.words == y.words;
  });
}

/** Even pages are written to, odd ones are copied from; anywhere in `pages`. */
std::vector<CopyRun> random_runs(Random& random, uint64_t pages, uint64_t count) {
  std::vector<CopyRun> runs;
  uint64_t target = random.below(pages / 2) * 2 * 512;
  for (uint64_t i = 0; i < count && target / 512 < pages; i++) {
    const uint64_t room = 512 - target % 512;
    const uint32_t words = static_cast<uint32_t>(1 + random.below(room));
    const uint64_t source = (random.below(pages / 2) * 2 + 1) * 512 + random.below(512 - words + 1);
    runs.push_back({target, source, words});
    target += words;
    if (random.below(2) == 0 || target / 512 % 2 == 1 || target % 512 == 0) target = (target / 1024 + 1 + random.below(3)) * 1024;
    else target += random.below(512 - target % 512);
  }
  return runs;
}

void what_is_written_is_read() {
  Random random(1);
  for (int i = 0; i < 3000; i++) {
    // Up to the largest guest there may be: far above 4 GiB.
    const uint64_t pages = i % 3 == 0 ? kMaxPages : 2 + random.below(5000);
    const auto runs = random_runs(random, pages & ~uint64_t{1}, 1 + random.below(200));
    std::vector<CopyRun> read;
    CHECK(read_copies(written(runs), pages, read).ok() && same(runs, read));
  }
}

void refused(const std::vector<CopyRun>& runs, uint64_t pages) {
  std::vector<CopyRun> read;
  CHECK(read_copies(written(runs), pages, read).error == EBADMSG && read.empty());
}

void what_breaks_the_rules_is_refused() {
  std::vector<CopyRun> read;
  CHECK(read_copies(written({{512, 0, 512}}), 2, read).ok());
  refused({}, 2);
  refused({{512, 0, 512}}, 1);              // written beyond the end
  refused({{0, 512, 1}}, 1);                // copied from there
  refused({{513, 0, 512}}, 3);              // over the border of a page
  refused({{512, 1, 512}}, 3);              // from over one
  refused({{512, 520, 8}}, 2);              // from the page it is in
  refused({{0, 1024, 8}, {512, 0, 8}}, 3);  // from a page that another writes to
  refused({{512, 0, 8}, {1024, 512, 8}}, 3);
  refused({{512, 0, 513}}, 4);
  refused({{1024, 0, 8}, {512, 0, 8}}, 4);  // not in order: the gap wraps
  refused({{512, 0, 8}, {519, 0, 8}}, 4);   // overlapping
  refused(std::vector<CopyRun>(kMaxCopyRuns + 1, CopyRun{512, 0, 1}), kMaxPages);
}

/** Any byte changed, any length cut: refused, or runs that keep the rules. */
void damage_is_refused_or_keeps_the_rules() {
  Random random(2);
  for (int i = 0; i < 20000; i++) {
    Bytes payload = written(random_runs(random, 64, 1 + random.below(20)));
    if (random.below(4) == 0) payload.resize(random.below(payload.size()));
    for (uint64_t n = random.below(4); n > 0 && !payload.empty(); n--) {
      payload[random.below(payload.size())] = static_cast<uint8_t>(random.next());
    }
    const Bytes exact(payload);
    std::vector<CopyRun> runs;
    if (!read_copies(exact, 64, runs).ok()) continue;
    uint64_t end = 0;
    for (const CopyRun& run : runs) {
      CHECK(run.target >= end && run.words > 0);
      end = run.target + run.words;
      CHECK(end <= 64 * 512 && run.source + run.words <= 64 * 512);
      CHECK(run.target / 512 == (end - 1) / 512 && run.source / 512 == (run.source + run.words - 1) / 512);
      for (const CopyRun& other : runs) CHECK(other.target / 512 != run.source / 512);
    }
    CHECK(written(runs) == exact);  // there is one spelling
  }
}

void an_epoch_has_one_copies_payload() {
  Mapping image;
  CHECK(image.anonymous(8 * kPageBytes).ok());
  const std::vector<Bytes> two = {written({{512, 0, 8}}), written({{1024, 0, 8}})};
  ApplyOutcome applied;
  CHECK(check_epoch(spans({two[0]})).ok() && check_epoch(spans(two)).error == EBADMSG);
  CHECK(apply_epoch(image, spans(two), 1, applied).error == EBADMSG);
  Bytes joined(two[0]);
  joined.insert(joined.end(), two[1].begin(), two[1].end());
  CHECK(check_epoch(spans({joined})).error == EBADMSG && apply_epoch(image, spans({joined}), 1, applied).error == EBADMSG);
}

void copied_pages_are_marked() {
  Bitmap marked;
  CHECK(marked.create(8).ok());
  CHECK(mark_pages(written({{512, 0, 8}, {600, 0, 8}, {2048, 0, 8}}), marked).ok());
  CHECK(marked.count() == 2 && marked.test(1) && marked.test(4));
}

/** One epoch, and what the image is before it, with all of part 1, with part 2 too, and after it, found word by word. */
struct Stages {
  std::vector<Bytes> chunks;
  Bytes before, made, laid, after;

  Stages(Pair& pair, Grain grain) {
    const auto contents = [](const Mapping& of) { return Bytes(of.data(), of.data() + of.bytes()); };
    before = contents(pair.image);
    pair.encode_all(grain, true, chunks);
    after = contents(pair.memory);
    EpochParts parts;
    CHECK(read_epoch(spans(chunks), pair.dirty.pages(), parts).ok());
    made = after;
    for (const uint64_t page : parts.targets) std::memcpy(&made[page * kPageBytes], &before[page * kPageBytes], kPageBytes);
    laid = made;
    for (const CopyRun& run : parts.runs) {
      for (uint64_t w = 0; w < run.words; w++) std::memcpy(&laid[(run.target + w) * 8], &made[(run.source + w) * 8], 8);
    }
  }
};

/** Some words as they are in one, all others as in the other; none, most, or all. */
void mix(Random& random, const Bytes& from, const Bytes& to, uint8_t* out) {
  const uint64_t share = random.below(5);
  for (uint64_t at = 0; at < from.size(); at += 8) std::memcpy(out + at, random.below(4) < share ? &to[at] : &from[at], 8);
}

void an_epoch_may_be_stopped_at_any_step() {
  Random random(3);
  uint64_t runs = 0;
  for (int guest = 0; guest < 12; guest++) {
    Pair pair(80, guest % 2 == 0 ? 1 : 2, guest % 3 == 0 ? Encoder::kMinSlabBytes : 1 << 20, 8);
    fill(pair, random, 0, 60);
    pair.replicate(Grain::words, true);
    for (int epoch = 0; epoch < 15; epoch++) {
      move_blocks(pair, random, static_cast<int>(random.below(30)));
      scribble(pair, random, static_cast<int>(random.below(30)));
      const Stages stages(pair, epoch % 2 == 0 ? Grain::words : Grain::bytes);
      const Bytes* const order[] = {&stages.before, &stages.made, &stages.laid, &stages.after};
      for (int stop = 0; stop < 24; stop++) {
        mix(random, *order[stop % 3], *order[stop % 3 + 1], pair.image.data());
        ApplyOutcome applied;
        const uint64_t before = digest_of(pair.image, 1);
        CHECK(apply_epoch(pair.image, spans(stages.chunks), 1 + stop % 2, applied).ok());
        CHECK(std::memcmp(pair.image.data(), stages.after.data(), stages.after.size()) == 0);
        CHECK(digest_of(pair.image, 1) == before + applied.digest_change);
      }
    }
    runs += pair.runs;
  }
  CHECK(runs > 500);
}

/** A process that applies is killed in the middle, as often as it takes to have hit every part. */
void a_killed_backup_applies_again() {
  Random random(4);
  Pair pair(3000, 1, 1 << 20, 64);
  fill(pair, random, 0, 2000);
  pair.replicate(Grain::words, true);
  const std::string path = "/tmp/romulus-copies-test-" + std::to_string(getpid());
  Mapping image;
  CHECK(image.open(path.c_str(), pair.image.bytes(), {.writable = true, .create = true}).ok());
  unlink(path.c_str());
  std::memcpy(image.data(), pair.image.data(), image.bytes());
  for (int epoch = 0; epoch < 30; epoch++) {
    move_blocks(pair, random, 600);
    scribble(pair, random, 600);
    std::vector<Bytes> chunks;
    pair.encode_all(Grain::bytes, true, chunks);
    for (int kill_after = 0; kill_after < 6; kill_after++) {
      const pid_t child = fork();
      if (child == 0) {
        ApplyOutcome applied;
        _exit(apply_epoch(image, spans(chunks), 1, applied).ok() ? 0 : 1);
      }
      usleep(static_cast<useconds_t>(random.below(4000)));
      kill(child, SIGKILL);
      waitpid(child, nullptr, 0);
    }
    ApplyOutcome applied;
    CHECK(apply_epoch(image, spans(chunks), 2, applied).ok());
    CHECK(std::memcmp(image.data(), pair.memory.data(), image.bytes()) == 0);
  }
}

void copies_reach_above_4_gib() {
  constexpr uint64_t kPages = (uint64_t{9} << 30) / kPageBytes;
  constexpr uint64_t kHigh = (uint64_t{8} << 30) / kPageBytes;
  Random random(5);
  Pair pair(kPages, 2, 1 << 20, 8);
  fill(pair, random, kHigh, 20);
  fill(pair, random, 10, 20);
  pair.replicate(Grain::bytes, true);
  std::memcpy(pair.page(100), pair.page(kHigh), 20 * kPageBytes);
  std::memcpy(pair.page(kHigh + 500) + 8, pair.page(10), 19 * kPageBytes);
  pair.dirty.set(100, 20);
  pair.dirty.set(kHigh + 500, 20);
  pair.replicate(Grain::bytes, true);
  CHECK(pair.runs > 38);
  CHECK(std::memcmp(pair.image.data() + 100 * kPageBytes, pair.page(kHigh), 20 * kPageBytes) == 0);
  CHECK(std::memcmp(pair.image.data() + (kHigh + 500) * kPageBytes, pair.page(kHigh + 500), 20 * kPageBytes) == 0);
  CHECK(pair.image_digest == pair.encoder.digest());
}

}  // namespace

int main() {
  what_is_written_is_read();
  what_breaks_the_rules_is_refused();
  damage_is_refused_or_keeps_the_rules();
  an_epoch_has_one_copies_payload();
  copied_pages_are_marked();
  an_epoch_may_be_stopped_at_any_step();
  a_killed_backup_applies_again();
  copies_reach_above_4_gib();
}
