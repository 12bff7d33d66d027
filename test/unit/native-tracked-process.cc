// A process that has its memory tracked as the QEMU shim does: asynchronous write protection by userfaultfd. Prints
// address and size, then stores one byte per line "PAGE" read, answering each.
#include <cinttypes>
#include <cstdio>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int main() {
  const uint64_t bytes = uint64_t{64} << 20;
  const int fd = memfd_create("tracked", 0);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(bytes)) != 0) return 1;
  auto* memory = static_cast<volatile uint8_t*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
  const int tracker = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC));
  // WP_HUGETLBFS_SHMEM, WP_UNPOPULATED, WP_ASYNC
  uffdio_api api = {UFFD_API, 1u << 12 | 1u << 13 | 1u << 15, 0};
  uffdio_register range = {{reinterpret_cast<uint64_t>(memory), bytes}, UFFDIO_REGISTER_MODE_WP, 0};
  if (tracker < 0 || ioctl(tracker, UFFDIO_API, &api) != 0 || ioctl(tracker, UFFDIO_REGISTER, &range) != 0) return 2;
  std::printf("%" PRIu64 " %" PRIu64 "\n", reinterpret_cast<uint64_t>(memory), bytes);
  std::fflush(stdout);
  uint64_t page;
  while (std::scanf("%" SCNu64, &page) == 1) {
    memory[page * 4096] = static_cast<uint8_t>(memory[page * 4096] + 1);
    std::puts("written");
    std::fflush(stdout);
  }
}
