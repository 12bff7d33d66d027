/*
 * Runs PostgreSQL in the demo guest, from a file system on its disk, and on TCP port 7002 does to it what a power cut
 * would: at "crash\n" every process of it gets SIGKILL, the file system is taken off and mounted again, so that nothing
 * comes from the page cache, and PostgreSQL recovers from what the disk holds. Says "ok\n" once it was started.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "server.h"

enum { PORT = 7002, USER = 65534 };
#define ROOT "/db"
#define POSTGRES "/usr/lib/postgresql/15/bin/postgres"

static pid_t postmaster;

static void fail(const char *what) {
  for (;;) {
    printf("FAULT database %s: %s\n", what, strerror(errno));
    fflush(stdout);
    sleep(1);
  }
}

static void start(void) {
  if (mount("/dev/vda", ROOT, "ext4", 0, "") < 0) fail("mount");
  if (mount("dev", ROOT "/dev", "devtmpfs", 0, "") < 0) fail("mount dev");
  postmaster = fork();
  if (postmaster != 0) return;
  setsid();
  if (chroot(ROOT) < 0 || chdir("/") < 0 || setgid(USER) < 0 || setuid(USER) < 0) fail("user");
  execl(POSTGRES, POSTGRES, "-D", "/data", NULL);
  fail("start");
}

/* The postmaster's children are their own groups, but nobody else in the guest is this user's. */
static void crash(void) {
  pid_t killer = fork();
  if (killer == 0) {
    if (setuid(USER) == 0) kill(-1, SIGKILL);
    _exit(0);
  }
  waitpid(killer, NULL, 0);
  while (wait(NULL) > 0) {}
  umount(ROOT "/dev");
  while (umount(ROOT) < 0) {
    if (errno != EBUSY) fail("umount");
    usleep(50000);
  }
}

int main(void) {
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  start();
  int server = listen_on(PORT, 4);
  if (server < 0) fail("listen");
  for (;;) {
    int client = accept(server, NULL, NULL);
    char word[8] = "";
    if (client >= 0 && read(client, word, sizeof word - 1) > 0 && strncmp(word, "crash", 5) == 0) {
      crash();
      start();
      dprintf(client, "ok\n");
    }
    close(client);
  }
}
