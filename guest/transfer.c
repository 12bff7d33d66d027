/*
 * Byte-exact TCP transfers for the demo guest, port 7000. A client says "get N\n" and receives N bytes of a fixed
 * pseudo-random stream, or "put N\n", sends these bytes itself, and is told "ok\n" or "bad at OFFSET\n".
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server.h"

#define PORT 7000
#define BLOCK 16384

static uint64_t state = 88172645463325252u;

/* xorshift64, eight bytes at a time, little endian. */
static void fill(uint8_t *block) {
  for (int at = 0; at < BLOCK; at += 8) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    memcpy(block + at, &state, 8);
  }
}

static void give(int client, uint64_t bytes) {
  uint8_t block[BLOCK];
  while (bytes > 0) {
    fill(block);
    size_t size = bytes < BLOCK ? bytes : BLOCK;
    for (size_t at = 0; at < size;) {
      ssize_t sent = write(client, block + at, size - at);
      if (sent <= 0) exit(1);
      at += (size_t)sent;
    }
    bytes -= size;
  }
}

static void take(int client, uint64_t bytes) {
  uint8_t expected[BLOCK], block[BLOCK];
  for (uint64_t offset = 0; offset < bytes;) {
    fill(expected);
    size_t size = bytes - offset < BLOCK ? bytes - offset : BLOCK;
    for (size_t at = 0; at < size;) {
      ssize_t got = read(client, block + at, size - at);
      if (got <= 0) exit(1);
      at += (size_t)got;
    }
    for (size_t at = 0; at < size; at++) {
      if (block[at] == expected[at]) continue;
      dprintf(client, "bad at %" PRIu64 "\n", offset + at);
      exit(0);
    }
    offset += size;
  }
  dprintf(client, "ok\n");
}

static void serve(int client) {
  char line[32] = "";
  for (size_t at = 0; at < sizeof line - 1 && read(client, line + at, 1) == 1 && line[at] != '\n'; at++) {}
  uint64_t bytes = strtoull(line + 4, NULL, 10);
  if (strncmp(line, "get ", 4) == 0) give(client, bytes);
  else if (strncmp(line, "put ", 4) == 0) take(client, bytes);
  exit(0);
}

int main(void) { return serve_each("transfer", PORT, 8, serve); }
