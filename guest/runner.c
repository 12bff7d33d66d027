/* Runs what it is told on TCP port 7004, one line for the shell a connection, and answers with what that printed. */
#include <stdlib.h>
#include <unistd.h>

#include "server.h"

enum { PORT = 7004, LINE = 4096 };

static void serve(int client) {
  static char line[LINE];
  for (size_t at = 0; at < sizeof line - 1 && read(client, line + at, 1) == 1; at++) {
    if (line[at] == '\n') break;
  }
  dup2(client, 1);
  dup2(client, 2);
  execl("/bin/sh", "sh", "-c", line, NULL);
  exit(1);
}

int main(void) { return serve_each("runner", PORT, 4, serve); }
