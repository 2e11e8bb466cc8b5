/* SPDX-License-Identifier: Apache-2.0
 *
 * sqlite LISTENER BYTES: a table in an in-memory SQLite database, rows of 900 bytes that do not compress. Seven
 * of ten operations read a row and check it, three write one anew, each in a transaction of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "bench/workloads/meter.h"
#include "sqlite3.h"

#define BODY 896

static sqlite3 *db;
static sqlite3_stmt *put, *get;
static uint64_t row_count, random_state = 3, wrong;

static void fail(void)
{
	fprintf(stderr, "sqlite: %s\n", sqlite3_errmsg(db));
	exit(1);
}

static void query(const char *sql)
{
	if (sqlite3_exec(db, sql, NULL, NULL, NULL))
		fail();
}

static sqlite3_stmt *prepared(const char *sql)
{
	sqlite3_stmt *s;

	if (sqlite3_prepare_v2(db, sql, -1, &s, NULL))
		fail();
	return s;
}

static void row_put(uint64_t id, uint64_t version)
{
	static uint8_t body[BODY];

	noise_fill(id << 24 | version, body, BODY);
	sqlite3_bind_int64(put, 1, (sqlite3_int64)id);
	sqlite3_bind_int64(put, 2, (sqlite3_int64)version);
	sqlite3_bind_blob(put, 3, body, BODY, SQLITE_STATIC);
	if (sqlite3_step(put) != SQLITE_DONE)
		fail();
	sqlite3_reset(put);
}

/* Its version; counts it as wrong if it is not there or not what was put in. */
static uint64_t row_get(uint64_t id)
{
	uint64_t version = 0, body[BODY / 8];

	sqlite3_bind_int64(get, 1, (sqlite3_int64)id);
	if (sqlite3_step(get) == SQLITE_ROW && sqlite3_column_bytes(get, 1) == BODY) {
		version = (uint64_t)sqlite3_column_int64(get, 0);
		memcpy(body, sqlite3_column_blob(get, 1), BODY);
		wrong += !noise_is(id << 24 | version, body, BODY);
	} else {
		wrong++;
	}
	sqlite3_reset(get);
	return version;
}

static uint64_t check(char *text, size_t size)
{
	sqlite3_stmt *all = prepared("PRAGMA integrity_check");

	wrong += sqlite3_step(all) != SQLITE_ROW || strcmp((const char *)sqlite3_column_text(all, 0), "ok");
	sqlite3_finalize(all);
	for (uint64_t id = 0; id < row_count; id++)
		row_get(id);
	snprintf(text, size, "%llu rows, integrity_check", (unsigned long long)row_count);
	return wrong;
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fprintf(stderr, "usage: sqlite LISTENER BYTES\n");
		return 2;
	}
	/* four such rows fill a page of 4096 bytes */
	row_count = strtoull(argv[2], NULL, 10) / 1024;
	if (sqlite3_open(":memory:", &db))
		fail();
	query("PRAGMA journal_mode = MEMORY; CREATE TABLE t (id INTEGER PRIMARY KEY, version INTEGER, body BLOB)");
	put = prepared("REPLACE INTO t VALUES (?, ?, ?)");
	get = prepared("SELECT version, body FROM t WHERE id = ?");
	query("BEGIN");
	for (uint64_t id = 0; id < row_count; id++)
		row_put(id, 0);
	query("COMMIT");
	meter_start(argv[1], check);
	for (;;) {
		uint64_t x = mix64(random_state++), id = (x >> 8) % row_count;
		uint64_t version = row_get(id);
		if (x % 10 < 3)
			row_put(id, version + 1);
		meter_add(1);
	}
}
