/** Files know their holes (tmpfs has them wherever nobody wrote); of private memory the process's own pagemap tells. */
#include "extents.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "page.h"

namespace romulus {
namespace {

/** Gaps shorter than this are filled: 64 KiB. */
constexpr uint64_t kMinGapBytes = 16 * kPageBytes;
/** Entries of the pagemap read at once. */
constexpr uint64_t kEntries = 2048;
/** The page is in memory, or was swapped out: not a page that nobody touched. */
constexpr uint64_t kPresentOrSwapped = uint64_t{3} << 62;

void add(std::vector<Extent>& to, uint64_t begin, uint64_t end) {
  if (!to.empty() && begin < to.back().end + kMinGapBytes) {
    to.back().end = std::max(to.back().end, end);
  } else {
    to.push_back({begin, end});
  }
}

/** False if the file system does not tell. */
bool of_file(int fd, uint64_t bytes, std::vector<Extent>& out) {
  for (uint64_t at = 0; at < bytes;) {
    const off_t data = lseek(fd, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0) return errno == ENXIO;  // nothing but a hole from here
    const off_t hole = lseek(fd, data, SEEK_HOLE);
    if (hole <= data) return false;
    if (static_cast<uint64_t>(data) >= bytes) return true;
    const uint64_t end = (static_cast<uint64_t>(hole) + kPageBytes - 1) / kPageBytes * kPageBytes;
    add(out, static_cast<uint64_t>(data) / kPageBytes * kPageBytes, std::min(end, bytes));
    at = static_cast<uint64_t>(hole);
  }
  return true;
}

bool of_private(const uint8_t* data, uint64_t bytes, std::vector<Extent>& out) {
  const int fd = ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  uint64_t entries[kEntries];
  const uint64_t pages = pages_in(bytes);
  const uint64_t first = reinterpret_cast<uint64_t>(data) / kPageBytes;
  uint64_t page = 0;
  while (page < pages) {
    const uint64_t count = std::min(kEntries, pages - page);
    const ssize_t got = pread(fd, entries, count * 8, static_cast<off_t>((first + page) * 8));
    if (got <= 0) break;
    for (uint64_t i = 0; i < static_cast<uint64_t>(got) / 8; i++, page++) {
      if ((entries[i] & kPresentOrSwapped) != 0) add(out, page * kPageBytes, (page + 1) * kPageBytes);
    }
  }
  ::close(fd);
  return page == pages;
}

}  // namespace

std::vector<Extent> touched_extents(const Mapping& of) {
  std::vector<Extent> extents;
  bool is_known = false;
  if (of.fd() >= 0) is_known = of_file(of.fd(), of.bytes(), extents);
  else if (of.is_private()) is_known = of_private(of.data(), of.bytes(), extents);
  if (!is_known) extents.assign(1, {0, of.bytes()});
  return extents;
}

std::vector<Extent> united(const std::vector<Extent>& a, const std::vector<Extent>& b) {
  std::vector<Extent> all;
  auto from_a = a.begin();
  auto from_b = b.begin();
  while (from_a != a.end() || from_b != b.end()) {
    const bool is_a = from_b == b.end() || (from_a != a.end() && from_a->begin < from_b->begin);
    const Extent& next = is_a ? *from_a++ : *from_b++;
    add(all, next.begin, next.end);
  }
  return all;
}

std::vector<Extent> cut(const std::vector<Extent>& extents, uint64_t bytes) {
  std::vector<Extent> pieces;
  for (const Extent& extent : extents) {
    for (uint64_t at = extent.begin; at < extent.end; at += bytes) pieces.push_back({at, std::min(at + bytes, extent.end)});
  }
  return pieces;
}

uint64_t skip_untouched(const Mapping& memory, Bitmap& pages) {
  uint64_t from = 0;
  for (const Extent& extent : touched_extents(memory)) {
    pages.clear(from, pages_in(extent.begin) - from);
    from = pages_in(extent.end);
  }
  pages.clear(from, pages.pages() - from);
  return pages.count();
}

}  // namespace romulus
