/*
 * A number that only grows, told over UDP, port 7003: each request of eight bytes is answered with these bytes and the
 * count of requests so far. Whoever listens outside can tell when the guest went back in time, and when it spoke twice.
 */
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { PORT = 7003, NONCE = 8 };

int main(void) {
  int server = socket(AF_INET, SOCK_DGRAM, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  if (bind(server, (struct sockaddr *)&address, sizeof address) < 0) {
    perror("counter");
    return 1;
  }
  uint64_t count = 0;
  for (;;) {
    uint8_t answer[NONCE + sizeof count];
    struct sockaddr_in from;
    socklen_t length = sizeof from;
    if (recvfrom(server, answer, NONCE, 0, (struct sockaddr *)&from, &length) != NONCE) continue;
    count++;
    memcpy(answer + NONCE, &count, sizeof count);
    sendto(server, answer, sizeof answer, 0, (struct sockaddr *)&from, length);
  }
}
