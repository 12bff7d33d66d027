/** The dirty map: exact after a kill, by extents after a power cut, everything when it is new. */
#include "../disk/dirty_map.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "check.h"

using romulus::disk::DirtyMap;

namespace {

constexpr uint64_t kMiB = 1024 * 1024;
constexpr uint64_t kDisk = 256 * kMiB;
constexpr uint64_t kBlock = DirtyMap::kMinBlockBytes;

struct Folder {
  char path[32] = "/tmp/dirty-map-XXXXXX";
  Folder() { CHECK(mkdtemp(path) != nullptr); }
  ~Folder() {
    unlink(map().c_str());
    rmdir(path);
  }
  std::string map() const { return std::string(path) + "/map"; }
};

/** Makes the file look as if another boot of this host had left it: extents as they are on disk, block bits lost. */
void reboot(const std::string& path, uint64_t blocks_offset) {
  const int fd = open(path.c_str(), O_RDWR);
  CHECK(fd >= 0);
  const char other[] = "another boot";
  CHECK(pwrite(fd, other, sizeof other, 24) == sizeof other);
  const char zeros[512] = {};
  CHECK(pwrite(fd, zeros, sizeof zeros, static_cast<off_t>(blocks_offset)) == sizeof zeros);
  close(fd);
}

void starts_with_everything() {
  const Folder folder;
  DirtyMap map;
  CHECK(map.open(folder.map().c_str(), kDisk).ok());
  CHECK(map.count() == kDisk / kBlock);
  CHECK(map.pair().empty());
}

void survives_a_kill() {
  const Folder folder;
  {
    DirtyMap map;
    CHECK(map.open(folder.map().c_str(), kDisk).ok());
    map.clear(0, map.blocks());
    CHECK(map.set_pair("a-pair").ok());
    CHECK(map.mark(3 * kBlock + 1, kBlock).ok());
  }
  DirtyMap map;
  CHECK(map.open(folder.map().c_str(), kDisk).ok());
  CHECK(map.pair() == "a-pair");
  uint64_t first = 0;
  uint64_t end = 0;
  CHECK(map.next(0, first, end) && first == 3 && end == 5);
  CHECK(!map.next(end, first, end));
}

void is_another_disks() {
  const Folder folder;
  {
    DirtyMap map;
    CHECK(map.open(folder.map().c_str(), kDisk).ok());
    map.clear(0, map.blocks());
    CHECK(map.set_pair("a-pair").ok());
  }
  DirtyMap map;
  CHECK(map.open(folder.map().c_str(), kDisk * 2).ok());
  CHECK(map.pair().empty() && map.count() == kDisk * 2 / kBlock);
}

void survives_a_power_cut_by_extents() {
  const Folder folder;
  {
    DirtyMap map;
    CHECK(map.open(folder.map().c_str(), kDisk).ok());
    map.clear(0, map.blocks());
    for (int i = 0; i < 2; i++) {
      map.begin_rest();
      map.end_rest();
    }
    CHECK(map.mark(DirtyMap::kExtentBytes * 4, 1).ok());
    map.clear(0, map.blocks());  // committed, but nobody flushed the image since
    map.begin_rest();
    map.end_rest();
  }
  reboot(folder.map(), 8192);
  DirtyMap map;
  CHECK(map.open(folder.map().c_str(), kDisk).ok());
  uint64_t first = 0;
  uint64_t end = 0;
  CHECK(map.next(0, first, end));
  CHECK(first == DirtyMap::kExtentBytes * 4 / kBlock && end == DirtyMap::kExtentBytes * 5 / kBlock);
  CHECK(!map.next(end, first, end));
}

void merges() {
  const Folder folder;
  const Folder other;
  DirtyMap a;
  DirtyMap b;
  CHECK(a.open(folder.map().c_str(), kDisk).ok() && b.open(other.map().c_str(), kDisk).ok());
  a.clear(0, a.blocks());
  b.clear(0, b.blocks());
  CHECK(a.mark(0, 1).ok() && b.mark(100 * kBlock, 1).ok());
  CHECK(a.merge(b.bits()).ok());
  CHECK(a.count() == 2);
  CHECK(!a.merge(std::vector<uint8_t>(8)).ok());
}

}  // namespace

int main() {
  starts_with_everything();
  survives_a_kill();
  is_another_disks();
  survives_a_power_cut_by_extents();
  merges();
}
