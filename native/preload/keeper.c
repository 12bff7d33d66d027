/* The keeper: continues a guest whose agent died in the middle of a checkpoint. */

#define _GNU_SOURCE
#include "keeper.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { RETRY_MS = 100, REPLY_TIMEOUT_MS = 2000 };

/*
 * A `stop` the dying agent had sent may still be on its way through QEMU when the first `cont` is done; the later
 * ones undo that. The keeper connects to the next agent only afterwards, so they never meet that agent's pause.
 */
static const int CONTINUE_AT_MS[] = {0, 20, 150};

static int connect_unix(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address.sun_path) return -1;
  strcpy(address.sun_path, path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) != 0) {
    close(fd);
    fd = -1;
  }
  return fd;
}

/* Reads QMP lines until one is a reply; events pass by. Returns 0 at the end of the connection. */
static int await_reply(int fd) {
  char line[4096];
  size_t length = 0;
  for (;;) {
    char byte;
    if (read(fd, &byte, 1) != 1) return 0;
    if (byte != '\n') {
      if (length < sizeof line - 1) line[length++] = byte;
      continue;
    }
    line[length] = 0;
    length = 0;
    if (strncmp(line, "{\"return\"", 9) == 0 || strncmp(line, "{\"error\"", 8) == 0) return 1;
  }
}

static int command(int fd, const char *name) {
  char text[64];
  int length = snprintf(text, sizeof text, "{\"execute\":\"%s\"}\n", name);
  return send(fd, text, (size_t)length, MSG_NOSIGNAL) == length && await_reply(fd);
}

static void continue_guest(const char *qmp_path) {
  int fd = connect_unix(qmp_path);
  if (fd < 0) {
    fprintf(stderr, "romulus keeper: the guest stays paused: %s: %s\n", qmp_path, strerror(errno));
    return;
  }
  struct timeval timeout = {.tv_sec = REPLY_TIMEOUT_MS / 1000};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  int waited_ms = 0;
  int fine = command(fd, "qmp_capabilities");
  for (size_t i = 0; fine && i < sizeof CONTINUE_AT_MS / sizeof *CONTINUE_AT_MS; i++) {
    usleep((useconds_t)(CONTINUE_AT_MS[i] - waited_ms) * 1000);
    waited_ms = CONTINUE_AT_MS[i];
    fine = command(fd, "cont");
  }
  close(fd);
  fprintf(stderr, "romulus keeper: the agent died in a checkpoint; guest %s\n", fine ? "continued" : "did not answer");
}

void *keep_running(void *unused) {
  (void)unused;
  const char *agent_path = getenv("ROMULUS_KEEPER"), *qmp_path = getenv("ROMULUS_KEEPER_QMP");
  for (;;) {
    int fd = connect_unix(agent_path);
    if (fd < 0) {
      usleep(RETRY_MS * 1000);
      continue;
    }
    char state = 'R', byte;
    ssize_t got;
    while ((got = read(fd, &byte, 1)) == 1 || (got < 0 && errno == EINTR)) {
      if (got != 1) continue;
      state = byte;
      if (state == 'F') return NULL; /* with the connection left open: nothing ever continues this guest again */
    }
    close(fd);
    if (state == 'P') continue_guest(qmp_path);
  }
}
