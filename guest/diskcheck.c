/*
 * The demo guest's disk workload: writes, trims, zeroes and reads blocks of /dev/vda past the page cache, and keeps in
 * memory what each must hold. A disk that is not at the very epoch of the memory beside it shows as a FAULT.
 *
 * Beside it, on TCP port 7001, a log whose records are durable before they are acknowledged: a client says "w\n" and is
 * told the number of the record it caused, or "r\n" and is told the last record that the disk holds, having read all
 * before it. Lines on the serial line: "disk <operations> ok" every second, "FAULT disk ..." from then on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, WORDS = BLOCK / 8, MOST = 8, PORT = 7001, OPERATIONS_PER_FLUSH = 16 };
static const uint64_t LOG_MAGIC = 0x6c6f672d64697363;
/* What a block must hold: zeros, anything (a trimmed one), or the stream of this seed. */
static const uint64_t ZEROS = 0, ANYTHING = 1;

static int disk;
static uint64_t blocks, log_first, log_blocks;
static uint8_t *buffer;
static uint64_t *expected;
static uint64_t state = 88172645463325252u;

static uint64_t next(uint64_t *from) {
  *from ^= *from << 13;
  *from ^= *from >> 7;
  *from ^= *from << 17;
  return *from;
}

static void fault(const char *what, uint64_t block) {
  for (;;) {
    printf("FAULT disk %s block %" PRIu64 " errno %d\n", what, block, errno);
    fflush(stdout);
    sleep(1);
  }
}

static void fill(uint8_t *block, uint64_t seed) {
  for (int at = 0; at < BLOCK; at += 8) {
    memcpy(block + at, &seed, 8);
    next(&seed);
  }
}

static void change(uint64_t first, int count) {
  uint64_t range[2] = {first * BLOCK, (uint64_t)count * BLOCK};
  uint64_t kind = next(&state) % 16;
  if (kind == 0 || kind == 1) {
    if (ioctl(disk, kind == 0 ? BLKDISCARD : BLKZEROOUT, range) < 0) return;
    for (int i = 0; i < count; i++) expected[first + i] = kind == 0 ? ANYTHING : ZEROS;
    return;
  }
  for (int i = 0; i < count; i++) {
    uint64_t seed = next(&state) | 2;
    expected[first + i] = seed;
    fill(buffer + i * BLOCK, seed);
  }
  if (pwrite(disk, buffer, (size_t)count * BLOCK, (off_t)(first * BLOCK)) != count * BLOCK) fault("write", first);
}

static void check(uint64_t first, int count) {
  if (pread(disk, buffer, (size_t)count * BLOCK, (off_t)(first * BLOCK)) != count * BLOCK) fault("read", first);
  static uint8_t wanted[BLOCK];
  for (int i = 0; i < count; i++) {
    uint64_t seed = expected[first + i];
    if (seed == ANYTHING) continue;
    if (seed == ZEROS) memset(wanted, 0, BLOCK);
    else fill(wanted, seed);
    if (memcmp(wanted, buffer + i * BLOCK, BLOCK) != 0) fault("content", first + i);
  }
}

static void work(long per_second) {
  struct timespec pause = {0, 1000000000 / per_second};
  uint64_t operations = 0;
  time_t said = 0;
  for (;;) {
    int count = 1 + (int)(next(&state) % MOST);
    uint64_t first = next(&state) % (blocks - MOST);
    if (next(&state) % 2) change(first, count);
    else check(first, count);
    if (++operations % OPERATIONS_PER_FLUSH == 0 && fdatasync(disk) < 0) fault("flush", 0);
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (now.tv_sec != said) {
      said = now.tv_sec;
      printf("disk %" PRIu64 " ok\n", operations);
      fflush(stdout);
    }
    nanosleep(&pause, NULL);
  }
}

/* Record n lies in block n - 1 of the log: magic, n, and the stream of n behind them. */
static void put_record(uint64_t n) {
  fill(buffer, n * 0x9e3779b97f4a7c15u | 2);
  memcpy(buffer, &LOG_MAGIC, 8);
  memcpy(buffer + 8, &n, 8);
  if (pwrite(disk, buffer, BLOCK, (off_t)((log_first + n - 1) * BLOCK)) != BLOCK || fdatasync(disk) < 0) fault("log", n);
}

static uint64_t last_record(void) {
  static uint8_t wanted[BLOCK];
  for (uint64_t n = 1; n <= log_blocks; n++) {
    if (pread(disk, buffer, BLOCK, (off_t)((log_first + n - 1) * BLOCK)) != BLOCK) fault("log read", n);
    fill(wanted, n * 0x9e3779b97f4a7c15u | 2);
    memcpy(wanted, &LOG_MAGIC, 8);
    memcpy(wanted + 8, &n, 8);
    if (memcmp(wanted, buffer, BLOCK) != 0) return n - 1;
  }
  return log_blocks;
}

static void serve(void) {
  int server = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  if (bind(server, (struct sockaddr *)&address, sizeof address) < 0 || listen(server, 8) < 0) return;
  uint64_t written = last_record();
  for (;;) {
    int client = accept(server, NULL, NULL);
    char byte;
    while (client >= 0 && read(client, &byte, 1) == 1) {
      if (byte == '\n') continue;
      if (byte == 'w' && written < log_blocks) put_record(++written);
      dprintf(client, "%" PRIu64 "\n", byte == 'r' ? last_record() : written);
    }
    close(client);
  }
}

int main(int argc, char **argv) {
  uint64_t bytes = 0;
  disk = open("/dev/vda", O_RDWR | O_DIRECT);
  if (disk < 0 || ioctl(disk, BLKGETSIZE64, &bytes) < 0 || bytes < 4u * 1024 * 1024) {
    perror("diskcheck");
    return 1;
  }
  signal(SIGPIPE, SIG_IGN);
  uint64_t all = bytes / BLOCK;
  log_blocks = all / 4;
  blocks = all - log_blocks < 8192 ? all - log_blocks : 8192;
  log_first = all - log_blocks;
  buffer = aligned_alloc(BLOCK, MOST * BLOCK);
  expected = calloc(blocks, sizeof *expected);
  for (uint64_t i = 0; i < blocks; i++) expected[i] = ANYTHING;
  if (fork() == 0) serve();
  else work(argc > 1 ? atol(argv[1]) : 200);
  return 0;
}
