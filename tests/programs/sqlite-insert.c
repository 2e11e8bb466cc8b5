/* SPDX-License-Identifier: Apache-2.0
 *
 * sqlite-insert FILE PORT [TABLE]: rows go into a database in transactions of 40,
 * with pauses inside, so that most moments are in the middle of one. Others may
 * write to the database as well. Commands:
 * check ("ok ROWS" if SQLite finds no damage and every committed row is there),
 * rows, quit.
 */
#define _GNU_SOURCE
#include "control.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sqlite3.h"

#define ROWS_PER_TRANSACTION 40

static sqlite3 *db;
static const char *table = "entry";
/* held over a transaction; a check waits for its end */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_ulong committed;

static void must(int rc, const char *what)
{
	if (rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW)
		return;
	say("wrong: %s: %s", what, sqlite3_errmsg(db));
	exit(1);
}

static void run(const char *sql, ...)
{
	char text[200];
	va_list args;

	va_start(args, sql);
	vsnprintf(text, sizeof(text), sql, args);
	va_end(args);
	sql = text;
	must(sqlite3_exec(db, sql, NULL, NULL, NULL), sql);
}

/* The text or number one query gives. */
static void ask(const char *sql, char *out, size_t size)
{
	sqlite3_stmt *s;

	must(sqlite3_prepare_v2(db, sql, -1, &s, NULL), sql);
	must(sqlite3_step(s), sql);
	snprintf(out, size, "%s", (const char *)sqlite3_column_text(s, 0));
	sqlite3_finalize(s);
}

static void insert_rows(void)
{
	/* SQLite is not fair to others that want the database */
	struct timespec pause = {0, 500000}, longer = {0, 30000000};
	sqlite3_stmt *s;
	char text[400];

	snprintf(text, sizeof(text), "INSERT INTO %s(number, text) VALUES(?1, ?2)", table);
	must(sqlite3_prepare_v2(db, text, -1, &s, NULL), "prepare");
	for (unsigned long number = 0;;) {
		pthread_mutex_lock(&lock);
		run("BEGIN IMMEDIATE");
		for (int i = 0; i < ROWS_PER_TRANSACTION; i++, number++) {
			snprintf(text, sizeof(text), "row %lu %0*lu", number, (int)(number % 300), number * 2654435761u);
			sqlite3_bind_int64(s, 1, (sqlite3_int64)number);
			sqlite3_bind_text(s, 2, text, -1, SQLITE_TRANSIENT);
			must(sqlite3_step(s), "insert");
			sqlite3_reset(s);
			nanosleep(&pause, NULL);
		}
		run("COMMIT");
		atomic_store(&committed, number);
		pthread_mutex_unlock(&lock);
		nanosleep(&longer, NULL); /* lets a check have the lock, and other programs the database */
	}
}

static void check(char *reply, size_t size)
{
	char damage[200], count[40], sum[40], sql[200];

	pthread_mutex_lock(&lock);
	unsigned long rows = atomic_load(&committed);
	ask("PRAGMA integrity_check", damage, sizeof(damage));
	snprintf(sql, sizeof(sql), "SELECT count(*) FROM %s", table);
	ask(sql, count, sizeof(count));
	snprintf(sql, sizeof(sql), "SELECT coalesce(sum(number), 0) FROM %s WHERE text LIKE 'row ' || number || ' %%'", table);
	ask(sql, sum, sizeof(sum));
	pthread_mutex_unlock(&lock);
	if (strcmp(damage, "ok"))
		snprintf(reply, size, "wrong: integrity_check: %s", damage);
	else if (strtoul(count, NULL, 10) != rows || strtoul(sum, NULL, 10) != rows * (rows - 1) / 2)
		snprintf(reply, size, "wrong: %s rows that sum to %s, %lu committed", count, sum, rows);
	else
		snprintf(reply, size, "ok %lu", rows);
}

static void handle(const char *command, char *reply, size_t size)
{
	if (!strcmp(command, "check"))
		check(reply, size);
	else if (!strcmp(command, "rows"))
		snprintf(reply, size, "%lu", atomic_load(&committed));
	else if (!strcmp(command, "quit"))
		exit(0);
	else
		snprintf(reply, size, "unknown command");
}

int main(int argc, char **argv)
{
	if (argc != 3 && argc != 4) {
		fprintf(stderr, "usage: sqlite-insert FILE PORT [TABLE]\n");
		return 2;
	}
	if (argc == 4)
		table = argv[3];
	must(sqlite3_open(argv[1], &db), "open");
	must(sqlite3_busy_timeout(db, 60000), "busy_timeout");
	run("CREATE TABLE %s(id INTEGER PRIMARY KEY, number INTEGER, text TEXT)", table);
	run("CREATE INDEX %s_text ON %s(text)", table, table);
	control_start(atoi(argv[2]), handle);
	say("ready");
	insert_rows();
}
