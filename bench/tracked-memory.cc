// Memory tracked as the agent has QEMU's tracked: asynchronous write protection by userfaultfd. Argument: MiB. Prints the
// address, then for each line "COUNT STRIDE" stores one byte into COUNT pages, STRIDE pages apart, and answers.
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstdlib>

int main(int count, char** words) {
  if (count != 2) return 2;
  const uint64_t bytes = std::strtoull(words[1], nullptr, 10) << 20;
  const int fd = memfd_create("tracked", 0);
  if (fd < 0 || ftruncate(fd, static_cast<off_t>(bytes)) != 0) return 1;
  auto* memory = static_cast<volatile uint8_t*>(mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0));
  const int tracker = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC));
  // WP_HUGETLBFS_SHMEM, WP_UNPOPULATED, WP_ASYNC
  uffdio_api api = {UFFD_API, 1u << 12 | 1u << 13 | 1u << 15, 0};
  uffdio_register range = {{reinterpret_cast<uint64_t>(memory), bytes}, UFFDIO_REGISTER_MODE_WP, 0};
  if (tracker < 0 || ioctl(tracker, UFFDIO_API, &api) != 0 || ioctl(tracker, UFFDIO_REGISTER, &range) != 0) return 1;
  std::printf("%" PRIu64 "\n", reinterpret_cast<uint64_t>(memory));
  std::fflush(stdout);
  uint64_t pages;
  uint64_t stride;
  while (std::scanf("%" SCNu64 " %" SCNu64, &pages, &stride) == 2) {
    for (uint64_t i = 0; i < pages; i++) memory[i * stride * 4096] = static_cast<uint8_t>(memory[i * stride * 4096] + 1);
    std::puts("stored");
    std::fflush(stdout);
  }
}
