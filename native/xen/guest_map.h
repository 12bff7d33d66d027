/** A view of guest memory at fixed addresses: page p of the index space at base + p * 4096, zeros where no frame is. */
#pragma once

#include "layout.h"

namespace romulus::xen {

class GuestMap {
 public:
  GuestMap(xenforeignmemory_handle* memory, uint32_t domid, const Layout& layout);
  ~GuestMap();
  GuestMap(const GuestMap&) = delete;
  GuestMap& operator=(const GuestMap&) = delete;

  uint8_t* base() const { return base_; }
  std::size_t size_bytes() const { return layout_.pages * kPageBytes; }

  /** Maps the pages set in `bits` and drops from it those whose frame is gone. Returns how many were mapped. */
  uint64_t map(PageBits& bits);
  /** Puts zeros in place of everything mapped. Ballooning needs this: a mapping keeps frames that the guest gave back from being freed. */
  void unmap();

 private:
  void map_run(const Region& region, uint64_t page, uint64_t pages, PageBits& bits);
  void zero(uint64_t page, uint64_t pages);

  xenforeignmemory_handle* memory_;
  uint32_t domid_;
  const Layout& layout_;
  uint8_t* base_;
  bool mapped_ = false;
};

}  // namespace romulus::xen
