/* A TCP server in the demo guest: a listening socket, and a child process for each connection. */
#pragma once

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* A socket that listens on every address; -1 with errno set if there is none. */
static inline int listen_on(int port, int backlog) {
  int server = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  setsockopt(server, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  if (bind(server, (struct sockaddr *)&address, sizeof address) < 0 || listen(server, backlog) < 0) return -1;
  return server;
}

/* Runs `serve`, which does not return, in a child for each connection. Returns 1 if the port cannot be had. */
static inline int serve_each(const char *name, int port, int backlog, void (*serve)(int client)) {
  signal(SIGCHLD, SIG_IGN);
  int server = listen_on(port, backlog);
  if (server < 0) {
    perror(name);
    return 1;
  }
  for (;;) {
    int client = accept(server, NULL, NULL);
    if (client < 0) continue;
    if (fork() == 0) serve(client);
    close(client);
  }
}
