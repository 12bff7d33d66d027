/* Put into an unmodified QEMU by LD_PRELOAD: lets the kernel note the pages the guest writes, and keeps the guest running. */

/*
 * Dirty log. Once QEMU has mapped the guest's RAM (seen in /proc/self/maps), the mapping is registered with
 * userfaultfd in asynchronous write-protect mode. From then on the agent, another process, reads and resets the
 * written pages with PAGEMAP_SCAN; nothing more happens here. The agent sees the registration as "uw" in the
 * VmFlags of /proc/PID/smaps, and the status file says why it failed when it did.
 *
 * Keeper: see keeper.c.
 *
 * Environment:
 *   ROMULUS_RAM             how the RAM mapping's path begins in /proc/self/maps; default /memfd:memory-backend-memfd
 *   ROMULUS_DIRTYLOG_STATUS file that receives one line: "registered START BYTES" or "failed STEP REASON"
 *   ROMULUS_KEEPER, ROMULUS_KEEPER_QMP   sockets of the keeper
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "keeper.h"

/* Newer than Debian 12's kernel headers. */
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#define FEATURE_WP_HUGETLBFS_SHMEM (1ull << 12)
#define FEATURE_WP_UNPOPULATED (1ull << 13)
#define FEATURE_WP_ASYNC (1ull << 15)

enum { POLL_MS = 2, GIVE_UP_MS = 60000 };
static const char *DEFAULT_RAM = "/memfd:memory-backend-memfd";

/* Whole or not at all: the agent may read at any moment. */
static void write_status(const char *line) {
  const char *path = getenv("ROMULUS_DIRTYLOG_STATUS");
  char temporary[4096];
  if (path == NULL || snprintf(temporary, sizeof temporary, "%s.new", path) >= (int)sizeof temporary) return;
  FILE *file = fopen(temporary, "we");
  if (file == NULL) return;
  fputs(line, file);
  if (fclose(file) == 0) rename(temporary, path);
}

static void report_failure(const char *step) {
  char line[256];
  snprintf(line, sizeof line, "failed %s %s\n", step, strerror(errno));
  fprintf(stderr, "romulus dirtylog: %s", line);
  write_status(line);
}

/* Finds the largest shared, writable mapping whose path begins with `ram`. */
static int find_ram(const char *ram, uint64_t *start, uint64_t *bytes) {
  FILE *maps = fopen("/proc/self/maps", "re");
  if (maps == NULL) return 0;
  char line[4608];
  *bytes = 0;
  while (fgets(line, sizeof line, maps) != NULL) {
    uint64_t from, to;
    char access[8];
    int path_at = 0;
    if (sscanf(line, "%lx-%lx %7s %*s %*s %*s %n", &from, &to, access, &path_at) < 3 || path_at == 0) continue;
    if (strcmp(access, "rw-s") != 0 || strncmp(line + path_at, ram, strlen(ram)) != 0) continue;
    if (to - from > *bytes) {
      *start = from;
      *bytes = to - from;
    }
  }
  fclose(maps);
  return *bytes > 0;
}

/* With asynchronous write protection the kernel settles every fault itself, so the unprivileged form serves as well. */
static int open_userfaultfd(void) {
  int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY);
  return fd;
}

static void register_ram(uint64_t start, uint64_t bytes) {
  int fd = open_userfaultfd();
  if (fd < 0) return report_failure("userfaultfd");
  struct uffdio_api api = {
      .api = UFFD_API,
      .features = FEATURE_WP_ASYNC | FEATURE_WP_UNPOPULATED | FEATURE_WP_HUGETLBFS_SHMEM,
  };
  struct uffdio_register range = {.range = {.start = start, .len = bytes}, .mode = UFFDIO_REGISTER_MODE_WP};
  if (ioctl(fd, UFFDIO_API, &api) != 0) report_failure("UFFDIO_API");
  else if (ioctl(fd, UFFDIO_REGISTER, &range) != 0) report_failure("UFFDIO_REGISTER");
  else {
    char line[128];
    snprintf(line, sizeof line, "registered %lx %lu\n", start, bytes);
    write_status(line);
    return; /* the descriptor stays open: closing it would end the registration */
  }
  close(fd);
}

static void *watch_for_ram(void *unused) {
  (void)unused;
  const char *ram = getenv("ROMULUS_RAM");
  if (ram == NULL) ram = DEFAULT_RAM;
  for (int waited_ms = 0; waited_ms < GIVE_UP_MS; waited_ms += POLL_MS) {
    uint64_t start, bytes;
    if (find_ram(ram, &start, &bytes)) {
      register_ram(start, bytes);
      return NULL;
    }
    usleep(POLL_MS * 1000);
  }
  errno = ENOENT;
  report_failure("RAM-mapping");
  return NULL;
}

/* Signals are QEMU's own business: its handlers must not run on threads it does not know. */
static void start_thread(void *(*body)(void *)) {
  sigset_t all, before;
  pthread_t thread;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  if (pthread_create(&thread, NULL, body, NULL) == 0) pthread_detach(thread);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

__attribute__((constructor)) static void start(void) {
  unsetenv("LD_PRELOAD"); /* what QEMU starts (exec:, helpers) is not a guest */
  start_thread(watch_for_ram);
  if (getenv("ROMULUS_KEEPER") != NULL && getenv("ROMULUS_KEEPER_QMP") != NULL) start_thread(keep_running);
}
