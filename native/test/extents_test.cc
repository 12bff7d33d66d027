/** What was never touched is told apart, in files and in private memory, and sparse mappings take blocks as they are told to. */
#include "../engine/extents.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "../engine/apply.h"
#include "../engine/page.h"
#include "../engine/pages.h"
#include "check.h"
#include "random.h"

using namespace romulus;

namespace {

constexpr uint64_t kBytes = 512 * kPageBytes;

bool covers(const std::vector<Extent>& extents, uint64_t page) {
  return std::any_of(extents.begin(), extents.end(), [&](const Extent& extent) {
    return extent.begin <= page * kPageBytes && page * kPageBytes < extent.end;
  });
}

/** Of an empty range of memory, after pages 3 and 300 were written. */
void touched_pages_are_found(Mapping& memory) {
  memory.data()[3 * kPageBytes + 9] = 1;
  memory.data()[300 * kPageBytes] = 1;
  const std::vector<Extent> extents = touched_extents(memory);
  CHECK(covers(extents, 3) && covers(extents, 300) && !covers(extents, 150) && !covers(extents, 511));
  Bitmap pages;
  CHECK(pages.create(512).ok());
  pages.set_all();
  CHECK(skip_untouched(memory, pages) == pages.count() && pages.count() < 64);
  CHECK(pages.test(3) && pages.test(300) && !pages.test(150));
}

uint64_t blocks_of(const std::string& path) {
  struct stat info;
  CHECK(stat(path.c_str(), &info) == 0);
  return static_cast<uint64_t>(info.st_blocks) * 512;
}

void a_sparse_mapping_takes_blocks_where_told(const std::string& path) {
  Mapping image;
  CHECK(image.open(path.c_str(), kBytes, {.create = true, .sparse = true}).ok());
  CHECK(image.is_hole(40) && blocks_of(path) == 0);
  CHECK(image.reserve_pages(40, 1).ok());
  CHECK(!image.is_hole(40) && image.is_hole(400));
  CHECK(blocks_of(path) >= kPageBytes && blocks_of(path) <= kBytes / 4);
  image.data()[40 * kPageBytes] = 5;
  Mapping again;
  CHECK(again.open(path.c_str(), kBytes, {.writable = true, .sparse = true}).ok());
  CHECK(!again.is_hole(40) && again.is_hole(400));
  CHECK(again.reserve_pages(0, 512).ok() && !again.is_hole(400));
  CHECK(blocks_of(path) >= kBytes && again.data()[40 * kPageBytes] == 5);
  CHECK(unlink(path.c_str()) == 0);
}

void ranges_of_extents() {
  const std::vector<Extent> a = {{0, kPageBytes}, {100 * kPageBytes, 110 * kPageBytes}};
  const std::vector<Extent> b = {{50 * kPageBytes, 51 * kPageBytes}, {105 * kPageBytes, 120 * kPageBytes}};
  const std::vector<Extent> both = united(a, b);
  CHECK(both.size() == 3 && both[1].begin == 50 * kPageBytes && both[2].end == 120 * kPageBytes);
  CHECK(cut(both, 8 * kPageBytes).size() == 5);
  CHECK(united({}, {}).empty());
}

/** Digest and comparison look only at what was touched, and still see everything. */
void passes_see_what_is_there() {
  Mapping one, other;
  CHECK(one.anonymous(uint64_t{1} << 36).ok() && other.anonymous(uint64_t{1} << 36).ok());
  CHECK(digest_of(one, 2) == 0);
  CHECK(first_difference(one, other, 2) == pages_in(one.bytes()));
  one.data()[(uint64_t{1} << 35) + 17] = 3;
  CHECK(digest_of(one, 2) != 0);
  CHECK(first_difference(one, other, 2) == uint64_t{1} << 23);
  other.data()[(uint64_t{1} << 35) + 17] = 3;
  CHECK(first_difference(one, other, 2) == pages_in(one.bytes()) && digest_of(one, 2) == digest_of(other, 1));
}

}  // namespace

int main() {
  char directory[] = "/dev/shm/romulus-extents-XXXXXX";
  CHECK(mkdtemp(directory) != nullptr);
  const std::string path = std::string(directory) + "/image";
  Mapping memory;
  CHECK(memory.anonymous(kBytes).ok());
  touched_pages_are_found(memory);
  Mapping file;
  CHECK(file.open(path.c_str(), kBytes, {.create = true}).ok());
  touched_pages_are_found(file);
  CHECK(unlink(path.c_str()) == 0);
  a_sparse_mapping_takes_blocks_where_told(path);
  ranges_of_extents();
  passes_see_what_is_there();
  CHECK(rmdir(directory) == 0);
}
