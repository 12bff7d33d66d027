#include "layout.h"

#include <algorithm>
#include <bit>

namespace romulus::xen {
namespace {

/** Device memory, BIOS and Xen's special pages lie in the top 256 MiB below 4 GiB; RAM lies below and above. */
constexpr uint64_t kLowRamEnd = 0xf0000;
constexpr uint64_t kHighRamBegin = 0x100000;
/** Frames asked for in one hypercall, as libxc does it. */
constexpr uint64_t kTypeBatch = 1024;

/** Calls visit(gfn) for each frame in [begin, end) that exists. */
template <typename Visit>
void visit_existing(xc_interface* xch, uint32_t domid, uint64_t begin, uint64_t end, Visit visit) {
  xen_pfn_t types[kTypeBatch];
  for (uint64_t gfn = begin; gfn < end; gfn += kTypeBatch) {
    const uint64_t count = std::min(kTypeBatch, end - gfn);
    for (uint64_t i = 0; i < count; i++) types[i] = gfn + i;
    check(xc_get_pfn_type_batch(xch, domid, count, types) == 0, "xc_get_pfn_type_batch");
    for (uint64_t i = 0; i < count; i++) {
      if ((types[i] & XEN_DOMCTL_PFINFO_LTAB_MASK) != XEN_DOMCTL_PFINFO_XTAB) visit(gfn + i);
    }
  }
}

void add_region(Layout& layout, uint64_t gfn, uint64_t pages) {
  const uint64_t page = layout.pages + gfn % 64;
  layout.regions.push_back({gfn, page, pages});
  layout.pages = (page + pages + 63) / 64 * 64;
}

}  // namespace

Layout Layout::of(xc_interface* xch, uint32_t domid) {
  xen_pfn_t gfn_count = 0;
  check(xc_domain_nr_gpfns(xch, domid, &gfn_count) == 0, "xc_domain_nr_gpfns");
  const xc_domaininfo_t info = domain_info(xch, domid);

  Layout layout;
  // max_pages counts the special pages too: a few absent pages at the end of RAM cost nothing.
  add_region(layout, 0, std::min<uint64_t>({info.max_pages, gfn_count, kLowRamEnd}));
  uint64_t first = 0, pages = 0;
  visit_existing(xch, domid, kLowRamEnd, std::min<uint64_t>(gfn_count, kHighRamBegin), [&](uint64_t gfn) {
    if (pages > 0 && gfn == first + pages) {
      pages++;
      return;
    }
    if (pages > 0) add_region(layout, first, pages);
    first = gfn;
    pages = 1;
  });
  if (pages > 0) add_region(layout, first, pages);
  if (gfn_count > kHighRamBegin) add_region(layout, kHighRamBegin, gfn_count - kHighRamBegin);
  return layout;
}

PageBits Layout::present(xc_interface* xch, uint32_t domid) const {
  PageBits bits(pages / 64, 0);
  for (const Region& region : regions) {
    visit_existing(xch, domid, region.gfn, region.gfn + region.pages,
                   [&](uint64_t gfn) { set_bit(bits.data(), region.page + (gfn - region.gfn)); });
  }
  return bits;
}

PageBits Layout::translate(const uint64_t* by_gfn, uint64_t gfn_count) const {
  PageBits bits(pages / 64, 0);
  for (const Region& region : regions) {
    const uint64_t end = std::min(region.gfn + region.pages, gfn_count);
    for (uint64_t word = region.gfn / 64; word * 64 < end; word++) {
      uint64_t mask = ~uint64_t{0};
      if (word * 64 < region.gfn) mask &= ~uint64_t{0} << (region.gfn % 64);
      if (end - word * 64 < 64) mask &= (uint64_t{1} << (end - word * 64)) - 1;
      // Regions are 64-page aligned against each other, so no two of them share a word of the result.
      bits[(region.page - region.gfn % 64) / 64 + (word - region.gfn / 64)] |= by_gfn[word] & mask;
    }
  }
  return bits;
}

bool Layout::misses(xc_interface* xch, uint32_t domid, const uint64_t* by_gfn, uint64_t gfn_count) const {
  bool found = false;
  const auto covered = [this](uint64_t gfn) {
    return std::any_of(regions.begin(), regions.end(), [gfn](const Region& region) { return gfn - region.gfn < region.pages; });
  };
  for (uint64_t word = 0; word * 64 < gfn_count; word++) {
    for (uint64_t rest = by_gfn[word]; rest != 0; rest &= rest - 1) {
      const uint64_t gfn = word * 64 + std::countr_zero(rest);
      if (!covered(gfn)) visit_existing(xch, domid, gfn, gfn + 1, [&](uint64_t) { found = true; });
    }
  }
  return found;
}

}  // namespace romulus::xen
