/* The demo guest's one program: a large structure that changes all the time and every state of which can be checked. */

/*
 * The structure is an array of records, one page each, scattered writes of a few words to dozens of them a step:
 *
 *   record i   magic, its own number, version, step of its last change, checksum over all its words
 *   twin       record i ^ (records / 2) changes in the same step, so both carry the same version and step
 *   ledger g   in another page: sum of the versions and sum of the checksums of the 64 records of group g
 *   root       in yet another page: sums over all ledgers, and the step count
 *
 * A page torn in its middle breaks its own checksum; a stale page (old, but whole) breaks its twin, its ledger and
 * the root, unless all four are stale alike, and the whole machine is then simply at an earlier moment. That case
 * shows outside: ticks in the log of one life only grow.
 *
 * Every step also checks one whole group, so all of memory is checked again each (records / 64) steps. A byte 'c'
 * on the serial line asks for a check of everything at once. Lines, every 100 ms:
 *   tick <n> checks <m> ok          n: lines so far; m: complete passes over the structure
 *   FAULT <what> ...                from then on nothing but FAULT
 */

#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { PAGE_WORDS = 512, HEAD_WORDS = 5, GROUP = 64 };
static const uint64_t MAGIC = 0x526f6d756c757321;
static const uint64_t SECOND_NS = 1000000000;

struct record {
  uint64_t magic, number, version, step, checksum;
  uint64_t word[PAGE_WORDS - HEAD_WORDS];
};
struct ledger {
  uint64_t versions, checksums, reserved[2];
};
struct root {
  uint64_t versions, checksums, step, tick, passes;
};

static struct record *records;
static struct ledger *ledgers;
static struct root *root;
static uint64_t record_count;
static uint64_t random_state = 88172645463325252u;
static char fault[160];

static uint64_t random_next(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

/* Position-dependent, so that exchanged words show, and linear, so that a change costs one multiplication. */
static uint64_t weight(uint64_t position) { return 2 * position + 1; }

static uint64_t checksum_of(const struct record *r) {
  uint64_t sum = r->number * 3 + r->version * 5 + r->step * 7;
  for (uint64_t i = 0; i < PAGE_WORDS - HEAD_WORDS; i++) sum += r->word[i] * weight(i + HEAD_WORDS);
  return sum;
}

static void fail(const char *format, ...) {
  if (fault[0]) return; /* the first one tells most */
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(fault, sizeof fault, format, arguments);
  va_end(arguments);
}

static void change(uint64_t number, uint64_t version, uint64_t step) {
  struct record *r = &records[number];
  uint64_t before_version = r->version, before_checksum = r->checksum;
  uint64_t sum = before_checksum + (version - r->version) * 5 + (step - r->step) * 7;
  for (int i = 0; i < 3; i++) {
    uint64_t position = random_next() % (PAGE_WORDS - HEAD_WORDS), value = random_next();
    sum += (value - r->word[position]) * weight(position + HEAD_WORDS);
    r->word[position] = value;
  }
  r->version = version;
  r->step = step;
  r->checksum = sum;
  struct ledger *l = &ledgers[number / GROUP];
  l->versions += version - before_version;
  l->checksums += sum - before_checksum;
  root->versions += version - before_version;
  root->checksums += sum - before_checksum;
}

static void check_group(uint64_t group) {
  uint64_t versions = 0, checksums = 0;
  for (uint64_t i = group * GROUP; i < (group + 1) * GROUP; i++) {
    const struct record *r = &records[i], *twin = &records[i ^ (record_count / 2)];
    if (r->magic != MAGIC || r->number != i) fail("record %lu is not itself", i);
    if (r->checksum != checksum_of(r)) fail("record %lu is torn at step %lu", i, root->step);
    if (r->version != twin->version || r->step != twin->step) fail("record %lu and its twin disagree", i);
    if (r->step > root->step) fail("record %lu is of step %lu, now is %lu", i, r->step, root->step);
    versions += r->version;
    checksums += r->checksum;
  }
  if (versions != ledgers[group].versions || checksums != ledgers[group].checksums) fail("ledger %lu is stale", group);
}

static void check_root(void) {
  uint64_t versions = 0, checksums = 0;
  for (uint64_t g = 0; g < record_count / GROUP; g++) {
    versions += ledgers[g].versions;
    checksums += ledgers[g].checksums;
  }
  if (versions != root->versions || checksums != root->checksums) fail("root is stale at step %lu", root->step);
}

static void check_all(void) {
  for (uint64_t g = 0; g < record_count / GROUP; g++) check_group(g);
  check_root();
}

static void build(uint64_t mib) {
  for (record_count = 2 * GROUP; record_count * 2 * sizeof(struct record) <= mib << 20;) record_count *= 2;
  uint64_t ledger_bytes = record_count / GROUP * sizeof(struct ledger) + 4096;
  uint64_t bytes = record_count * sizeof(struct record) + ledger_bytes + 4096;
  char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (at == MAP_FAILED) {
    puts("FAULT no memory");
    exit(1);
  }
  root = (struct root *)at;
  ledgers = (struct ledger *)(at + 4096);
  records = (struct record *)(at + 4096 + (ledger_bytes & ~4095ul));
  for (uint64_t i = 0; i < record_count; i++) {
    struct record *r = &records[i];
    r->magic = MAGIC;
    r->number = i;
    for (uint64_t w = 0; w < PAGE_WORDS - HEAD_WORDS; w += 4) r->word[w] = random_next();
    r->checksum = checksum_of(r);
    ledgers[i / GROUP].checksums += r->checksum;
    root->checksums += r->checksum;
  }
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * SECOND_NS + (uint64_t)t.tv_nsec;
}

static void sleep_until(uint64_t ns) {
  struct timespec t = {.tv_sec = (time_t)(ns / SECOND_NS), .tv_nsec = (long)(ns % SECOND_NS)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) != 0) {}
}

static void report(void) {
  root->tick++;
  if (fault[0]) printf("FAULT %s (tick %lu)\n", fault, root->tick);
  else printf("tick %lu checks %lu ok\n", root->tick, root->passes);
}

static void answer_request(void) {
  char byte;
  while (read(0, &byte, 1) == 1) {
    if (byte != 'c') continue;
    check_all();
    puts(fault[0] ? "check FAULT" : "check ok");
  }
}

/* Serial input is polled, and must not wait for a whole line. */
static void prepare_terminal(void) {
  struct termios terminal;
  setvbuf(stdout, NULL, _IOLBF, 0);
  fcntl(0, F_SETFL, fcntl(0, F_GETFL) | O_NONBLOCK);
  if (tcgetattr(0, &terminal) != 0) return;
  terminal.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
  tcsetattr(0, TCSANOW, &terminal);
}

/* heartbeat MIB PAGES_PER_STEP STEPS_PER_SECOND */
int main(int argc, char **argv) {
  uint64_t mib = argc > 1 ? strtoul(argv[1], NULL, 10) : 64;
  uint64_t pages_per_step = argc > 2 ? strtoul(argv[2], NULL, 10) : 32;
  uint64_t steps_per_second = argc > 3 ? strtoul(argv[3], NULL, 10) : 250;
  if (steps_per_second == 0) steps_per_second = 1;
  prepare_terminal();
  build(mib);
  printf("heartbeat: %lu records, %lu pages a step, %lu steps a second\n", record_count, pages_per_step,
         steps_per_second);

  uint64_t group = 0, last_ns = now_ns(), next_step_ns = last_ns, next_report_ns = last_ns;
  for (;;) {
    uint64_t step = ++root->step;
    for (uint64_t i = 0; i < pages_per_step / 2; i++) {
      uint64_t number = random_next() % (record_count / 2);
      uint64_t version = records[number].version + 1;
      change(number, version, step);
      change(number + record_count / 2, version, step);
    }
    check_group(group);
    if (++group == record_count / GROUP) {
      check_root();
      root->passes++;
      group = 0;
    }
    uint64_t now = now_ns();
    if (now < last_ns) fail("the clock went back");
    last_ns = now;
    if (now >= next_report_ns) {
      report();
      answer_request();
      next_report_ns = now + SECOND_NS / 10;
    }
    /* A step that came late is not caught up with: the rate is a ceiling, not a debt. */
    next_step_ns += SECOND_NS / steps_per_second;
    if (next_step_ns > now) sleep_until(next_step_ns);
    else next_step_ns = now;
  }
}
