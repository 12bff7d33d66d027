#include "guest_map.h"

#include <sys/mman.h>

#include <vector>

namespace romulus::xen {
namespace {

constexpr int kZeroPages = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

}  // namespace

GuestMap::GuestMap(xenforeignmemory_handle* memory, uint32_t domid, const Layout& layout)
    : memory_(memory), domid_(domid), layout_(layout) {
  void* base = mmap(nullptr, size_bytes(), PROT_READ, kZeroPages, -1, 0);
  check(base != MAP_FAILED, "mmap");
  base_ = static_cast<uint8_t*>(base);
}

GuestMap::~GuestMap() { munmap(base_, size_bytes()); }

uint64_t GuestMap::map(PageBits& bits) {
  mapped_ = true;
  uint64_t mapped = 0;
  for (const Region& region : layout_.regions) {
    const uint64_t end = region.page + region.pages;
    uint64_t page = region.page;
    while (page < end) {
      if (page % 64 == 0 && bits[page / 64] == 0) {
        page += 64;
        continue;
      }
      uint64_t run = page;
      while (run < end && test_bit(bits.data(), run)) run++;
      if (run == page) {
        page++;
        continue;
      }
      map_run(region, page, run - page, bits);
      for (; page < run; page++) mapped += test_bit(bits.data(), page);
    }
  }
  return mapped;
}

/** Each run is a mapping of its own: the kernel does not let a foreign mapping be cut in two. */
void GuestMap::map_run(const Region& region, uint64_t page, uint64_t pages, PageBits& bits) {
  std::vector<xen_pfn_t> gfns(pages);
  std::vector<int> errors(pages);
  for (uint64_t i = 0; i < pages; i++) gfns[i] = region.gfn + (page - region.page) + i;
  uint8_t* address = base_ + page * kPageBytes;
  if (xenforeignmemory_map2(memory_, domid_, address, PROT_READ, MAP_FIXED, pages, gfns.data(), errors.data()) == nullptr) {
    const int code = errno;
    zero(page, pages);
    if (code != ENOENT && code != EINVAL) throw Error("xenforeignmemory_map2 failed", code);
    for (uint64_t i = 0; i < pages; i++) bits[(page + i) / 64] &= ~(uint64_t{1} << ((page + i) % 64));
    return;
  }
  bool whole = true;
  for (uint64_t i = 0; i < pages; i++) {
    if (errors[i] == 0) continue;
    whole = false;
    bits[(page + i) / 64] &= ~(uint64_t{1} << ((page + i) % 64));
  }
  if (whole) return;
  zero(page, pages);
  uint64_t i = 0;
  while (i < pages) {
    uint64_t j = i;
    while (j < pages && errors[j] == 0) j++;
    if (j > i) map_run(region, page + i, j - i, bits);
    i = j + 1;
  }
}

void GuestMap::zero(uint64_t page, uint64_t pages) {
  void* address = base_ + page * kPageBytes;
  check(mmap(address, pages * kPageBytes, PROT_READ, kZeroPages | MAP_FIXED, -1, 0) != MAP_FAILED, "mmap");
}

void GuestMap::unmap() {
  if (!mapped_) return;
  zero(0, layout_.pages);
  mapped_ = false;
}

}  // namespace romulus::xen
