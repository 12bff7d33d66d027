/*
 * Steady load: SQLite in WAL mode, one transaction after another, each of which updates, inserts and deletes a few rows.
 * The rows' bodies are random hex, which hardly compresses, and each stands in memory several times over: in SQLite's own
 * page cache, in the log and, once there was a checkpoint, in the database, both of these in the kernel's page cache.
 *   sqlite SHORTEST LONGEST CACHE     random bytes of a body, twice as many digits; KiB of SQLite's page cache
 */
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 12000, FILL_AT_ONCE = 500, UPDATES = 6, INSERTS = 2 };

static sqlite3 *database;
static sqlite3_stmt *begin, *commit, *insert, *update, *erase;
static sqlite3_int64 first = 1, next = 1;
static int shortest, longest;

static void must(int result) {
  if (result == SQLITE_OK || result == SQLITE_ROW || result == SQLITE_DONE) return;
  printf("FAULT sqlite: %s\n", sqlite3_errmsg(database));
  exit(1);
}

static sqlite3_stmt *prepared(const char *text) {
  sqlite3_stmt *statement;
  must(sqlite3_prepare_v2(database, text, -1, &statement, NULL));
  return statement;
}

static void run(sqlite3_stmt *statement) {
  must(sqlite3_step(statement));
  must(sqlite3_reset(statement));
}

static int body_bytes(void) { return shortest + random() % (longest - shortest + 1); }

static void insert_row(void) {
  must(sqlite3_bind_int64(insert, 1, next++));
  must(sqlite3_bind_int(insert, 2, (int)(random() % 500)));
  must(sqlite3_bind_int(insert, 3, body_bytes()));
  run(insert);
}

static void update_row(void) {
  must(sqlite3_bind_int64(update, 1, first + random() % (next - first)));
  must(sqlite3_bind_int(update, 2, body_bytes()));
  run(update);
}

static void erase_oldest(void) {
  must(sqlite3_bind_int64(erase, 1, first++));
  run(erase);
}

int main(int count, char **words) {
  if (count != 4) return 1;
  shortest = atoi(words[1]);
  longest = atoi(words[2]);
  char cache[64];
  snprintf(cache, sizeof cache, "PRAGMA cache_size = -%d", atoi(words[3]));
  must(sqlite3_open("/rows.db", &database));
  must(sqlite3_exec(database,
                    "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;"
                    "CREATE TABLE item (id INTEGER PRIMARY KEY, owner INTEGER, version INTEGER, changed TEXT, body TEXT);"
                    "CREATE INDEX item_of_owner ON item (owner)",
                    NULL, NULL, NULL));
  must(sqlite3_exec(database, cache, NULL, NULL, NULL));
  begin = prepared("BEGIN IMMEDIATE");
  commit = prepared("COMMIT");
  insert = prepared("INSERT INTO item VALUES (?1, ?2, 1, datetime('now'), hex(randomblob(?3)))");
  update = prepared("UPDATE item SET version = version + 1, changed = datetime('now'), body = hex(randomblob(?2)) WHERE id = ?1");
  erase = prepared("DELETE FROM item WHERE id = ?1");
  while (next <= ROWS) {
    run(begin);
    for (int i = 0; i < FILL_AT_ONCE; i++) insert_row();
    run(commit);
  }
  printf("load ready\n");
  fflush(stdout);
  for (;;) {
    run(begin);
    for (int i = 0; i < UPDATES; i++) update_row();
    for (int i = 0; i < INSERTS; i++) insert_row();
    for (int i = 0; i < INSERTS; i++) erase_oldest();
    run(commit);
  }
}
