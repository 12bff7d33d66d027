#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "domain.h"

namespace romulus::xen {
namespace {

/** As libxc has it. */
constexpr std::size_t kBatchPages = 1024;

}  // namespace

uint64_t Domain::copy_by_mapping(const PageBits& pages) const {
  std::vector<xen_pfn_t> gfns;
  for (const Region& region : layout_.regions) {
    for (uint64_t i = 0; i < region.pages; i++) {
      if (test_bit(pages.data(), region.page + i)) gfns.push_back(region.gfn + i);
    }
  }
  std::vector<uint8_t> copied(gfns.size() * kPageBytes);
  std::vector<int> errors(kBatchPages);
  for (std::size_t at = 0; at < gfns.size(); at += kBatchPages) {
    const std::size_t count = std::min(kBatchPages, gfns.size() - at);
    void* mapped = xenforeignmemory_map(memory_.get(), domid_, PROT_READ, count, &gfns[at], errors.data());
    check(mapped != nullptr, "xenforeignmemory_map");
    for (std::size_t i = 0; i < count; i++) {
      if (errors[i] != 0) continue;
      std::memcpy(&copied[(at + i) * kPageBytes], static_cast<uint8_t*>(mapped) + i * kPageBytes, kPageBytes);
    }
    check(xenforeignmemory_unmap(memory_.get(), mapped, count) == 0, "xenforeignmemory_unmap");
  }
  return gfns.size();
}

}  // namespace romulus::xen
