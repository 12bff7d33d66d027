/*
 * Prints each pause of the guest, as "pause SUSPENDED STOOD" in ms: how far its monotonic clock fell behind its wall clock, since
 * it stands still while the guest is suspended; and how long this program stood, frozen with all others before and after.
 */
#include <stdio.h>
#include <time.h>

static const double LOOK_EVERY_MS = 5;
static const double SHORTEST_PAUSE_MS = 2;
/* Both clocks are read within so long, or the reader was itself interrupted in between. */
static const double MAX_READING_MS = 0.5;

static double ms(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static double wall_ahead_ms(double *wall) {
  for (;;) {
    double before = ms(CLOCK_MONOTONIC), after;
    *wall = ms(CLOCK_REALTIME);
    after = ms(CLOCK_MONOTONIC);
    if (after - before < MAX_READING_MS) return *wall - (before + after) / 2;
  }
}

int main(void) {
  double seen, wall;
  for (double known = wall_ahead_ms(&seen);;) {
    nanosleep(&(struct timespec){.tv_nsec = (long)(LOOK_EVERY_MS * 1e6)}, NULL);
    double now = wall_ahead_ms(&wall);
    if (now - known >= SHORTEST_PAUSE_MS) {
      printf("pause %.2f %.2f\n", now - known, wall - seen - LOOK_EVERY_MS);
      fflush(stdout);
    }
    known = now;
    seen = wall;
  }
}
