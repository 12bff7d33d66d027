/** The ioctl's structures are written out here: distributions' headers are older than the kernels they run on. */
#include "pagemap_scan.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace romulus {
namespace {

/** As in include/uapi/linux/fs.h. */
struct PageRegion {
  uint64_t start;
  uint64_t end;
  uint64_t categories;
};

struct ScanArguments {
  uint64_t size;
  uint64_t flags;
  uint64_t start;
  uint64_t end;
  uint64_t walk_end;
  uint64_t vec;
  uint64_t vec_len;
  uint64_t max_pages;
  uint64_t category_inverted;
  uint64_t category_mask;
  uint64_t category_anyof_mask;
  uint64_t return_mask;
};
static_assert(sizeof(ScanArguments) == 96);

constexpr unsigned long kPagemapScan = _IOWR('f', 16, ScanArguments);
constexpr uint64_t kPageIsWritten = 1u << 1;
constexpr uint64_t kWriteProtectMatching = 1u << 0;
constexpr uint64_t kCheckAsync = 1u << 1;

/** Regions fetched per ioctl; a call that fills them is continued where it stopped. */
constexpr uint64_t kRegions = 2048;

bool has_ended(int process) noexcept {
  pollfd wait = {process, POLLIN, 0};
  return poll(&wait, 1, 0) > 0;
}

}  // namespace

bool PagemapScan::supported() noexcept {
  const int fd = ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  alignas(4096) static const uint8_t page[kPageBytes] = {};
  PageRegion region;
  ScanArguments scan = {};
  scan.size = sizeof scan;
  scan.start = reinterpret_cast<uint64_t>(page);
  scan.end = scan.start + kPageBytes;
  scan.vec = reinterpret_cast<uint64_t>(&region);
  scan.vec_len = 1;
  scan.category_mask = kPageIsWritten;
  scan.return_mask = kPageIsWritten;
  const bool works = ioctl(fd, kPagemapScan, &scan) >= 0;
  ::close(fd);
  return works;
}

Status PagemapScan::open(int pid, uint64_t address, uint64_t bytes) noexcept {
  close();
  if (address % kPageBytes != 0 || bytes % kPageBytes != 0 || address + bytes < address) {
    return {EINVAL, "the range to scan is not whole pages"};
  }
  // The handle outlives the number, so a process that got the same pid later is not mistaken for this one.
  process_ = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (process_ < 0) return {errno, "there is no such process"};
  char path[40];
  std::snprintf(path, sizeof path, "/proc/%d/pagemap", pid);
  pagemap_ = ::open(path, O_RDONLY | O_CLOEXEC);
  if (pagemap_ < 0) {
    const int error = errno == ENOENT ? ESRCH : errno;
    close();
    return {error, "opening the process's pagemap failed"};
  }
  start_ = address;
  end_ = address + bytes;
  return {};
}

Status PagemapScan::take(Bitmap& into, uint64_t& named) noexcept {
  if (pagemap_ < 0) return {EBADF, "the scan is closed"};
  if (into.pages() < pages_in(end_ - start_)) return {EINVAL, "the bitmap is smaller than the range scanned"};
  named = 0;
  PageRegion regions[kRegions];
  ScanArguments scan = {};
  scan.size = sizeof scan;
  scan.flags = kWriteProtectMatching | kCheckAsync;
  scan.vec = reinterpret_cast<uint64_t>(regions);
  scan.vec_len = kRegions;
  scan.category_mask = kPageIsWritten;
  scan.return_mask = kPageIsWritten;
  for (uint64_t at = start_; at < end_; at = scan.walk_end) {
    scan.start = at;
    scan.end = end_;
    const long count = ioctl(pagemap_, kPagemapScan, &scan);
    if (count < 0 && errno == EINTR) {
      scan.walk_end = at;
      continue;
    }
    if (count < 0) return {has_ended(process_) ? ESRCH : errno, "PAGEMAP_SCAN failed"};
    for (long i = 0; i < count; i++) {
      const uint64_t pages = pages_in(regions[i].end - regions[i].start);
      into.set(pages_in(regions[i].start - start_), pages);
      named += pages;
    }
    if (scan.walk_end <= at) return {EIO, "PAGEMAP_SCAN did not advance"};
  }
  // The memory of a process that ended reads as "nothing written": say so instead.
  if (has_ended(process_)) return {ESRCH, "the process ended"};
  return {};
}

void PagemapScan::close() noexcept {
  if (pagemap_ >= 0) ::close(pagemap_);
  if (process_ >= 0) ::close(process_);
  pagemap_ = -1;
  process_ = -1;
}

}  // namespace romulus
