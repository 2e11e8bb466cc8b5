/* SPDX-License-Identifier: Apache-2.0
 *
 * HTTP/1.1 with keep-alive: small files, several requests at a time; large ones,
 * read so slowly that they are always under way; parts of large ones. What is in
 * a file follows from its number.
 */
#include "tests/servers/load.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SMALL_FILES 40
#define LARGE_FILES 4
#define FILES (SMALL_FILES + LARGE_FILES)
#define SMALL_MAX 30000u
#define LARGE_UNIT (6u << 20)
#define TEXT 64
#define REQUESTS_MAX 4

static uint64_t size_of(unsigned file)
{
	if (file >= SMALL_FILES)
		return (uint64_t)LARGE_UNIT * (file - SMALL_FILES + 1) + file * 37;
	return file == 0 ? 0 : (uint64_t)file * file * 7919 % SMALL_MAX;
}

static uint64_t word_of(unsigned file, uint64_t index)
{
	uint64_t x = (index + 1) * 0x9e3779b97f4a7c15u ^ (uint64_t)file << 56;

	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9u;
	return x ^ x >> 32;
}

static unsigned char byte_of(unsigned file, uint64_t offset)
{
	return (unsigned char)(word_of(file, offset / 8) >> offset % 8 * 8);
}

int http_make_files(const char *directory)
{
	char path[4096];

	for (unsigned file = 0; file < FILES; file++) {
		snprintf(path, sizeof(path), "%s/%u.txt", directory, file);
		FILE *f = fopen(path, "w");
		if (!f)
			err(1, "%s", path);
		uint64_t size = size_of(file);
		for (uint64_t offset = 0; offset < size; offset += 8) {
			uint64_t word = word_of(file, offset / 8);
			fwrite(&word, size - offset < 8 ? size - offset : 8, 1, f);
		}
		if (fclose(f))
			err(1, "%s", path);
	}
	return 0;
}

struct response {
	unsigned status;
	uint64_t size;
	bool has_size, closes;
	char etag[TEXT];
};

static struct response read_head(struct peer *p)
{
	struct response r = {0};
	char *line = peer_line(p);

	PEER_EXPECT(p, sscanf(line, "HTTP/1.1 %u ", &r.status) == 1, "not an answer: %.60s", line);
	while (*(line = peer_line(p))) {
		if (!strncasecmp(line, "Content-Length: ", 16)) {
			r.size = strtoull(line + 16, NULL, 10);
			r.has_size = true;
		} else if (!strncasecmp(line, "ETag: ", 6)) {
			snprintf(r.etag, sizeof(r.etag), "%s", line + 6);
		} else if (!strcasecmp(line, "Connection: close")) {
			r.closes = true;
		}
	}
	PEER_EXPECT(p, !r.closes, "the server does not keep the connection");
	return r;
}

static void expect_content(struct peer *p, unsigned file, uint64_t from, uint64_t size, unsigned pause_us)
{
	uint64_t end = from + size;

	while (from < end) {
		char *data;
		size_t n = peer_take_some(p, end - from < 65536 ? end - from : 65536, &data);
		for (size_t i = 0; i < n; i++)
			PEER_EXPECT(p, (unsigned char)data[i] == byte_of(file, from + i),
				    "file %u is wrong at byte %llu of %llu", file, (unsigned long long)(from + i),
				    (unsigned long long)size_of(file));
		from += n;
		if (pause_us)
			load_pause_us(pause_us);
	}
	p->operations++;
}

static void request(struct peer *p, const char *method, unsigned file, const char *headers)
{
	peer_printf(p, "%s /%u.txt HTTP/1.1\r\nHost: test\r\n%s\r\n", method, file, headers);
}

static void run_pages(struct peer *p)
{
	enum { WHOLE, HEAD_ONLY, UNCHANGED, MISSING, KINDS } kind[REQUESTS_MAX];
	char etags[SMALL_FILES][TEXT] = {{0}}, headers[2 * TEXT];
	unsigned file[REQUESTS_MAX];

	while (!load_is_over()) {
		unsigned count = 1 + (unsigned)peer_random(p, REQUESTS_MAX);

		for (unsigned i = 0; i < count; i++) {
			file[i] = (unsigned)peer_random(p, SMALL_FILES);
			kind[i] = peer_random(p, 2) ? WHOLE : (unsigned)peer_random(p, KINDS);
			if (kind[i] == UNCHANGED && !etags[file[i]][0])
				kind[i] = WHOLE;
			snprintf(headers, sizeof(headers), "If-None-Match: %s\r\n", etags[file[i]]);
			request(p, kind[i] == HEAD_ONLY ? "HEAD" : "GET", kind[i] == MISSING ? 9999 : file[i],
				kind[i] == UNCHANGED ? headers : "");
		}
		peer_flush(p);
		for (unsigned i = 0; i < count; i++) {
			static const unsigned statuses[] = {200, 200, 304, 404};
			struct response r = read_head(p);
			PEER_EXPECT(p, r.status == statuses[kind[i]], "file %u: status %u instead of %u", file[i], r.status,
				    statuses[kind[i]]);
			if (kind[i] == WHOLE || kind[i] == HEAD_ONLY)
				PEER_EXPECT(p, r.has_size && r.size == size_of(file[i]), "file %u has size %llu", file[i],
					    (unsigned long long)r.size);
			if (kind[i] == WHOLE) {
				expect_content(p, file[i], 0, r.size, 0);
				memcpy(etags[file[i]], r.etag, TEXT);
			} else if (kind[i] == MISSING) {
				peer_take(p, r.size);
			}
			p->operations++;
		}
		load_pause_us(peer_random(p, 15000));
	}
}

/* 64 KiB at most every 4 ms: some 16 MB/s. The socket buffers on both sides are full most of the time. */
static void run_downloads(struct peer *p)
{
	while (!load_is_over()) {
		unsigned file = SMALL_FILES + (unsigned)peer_random(p, LARGE_FILES);
		request(p, "GET", file, "");
		peer_flush(p);
		struct response r = read_head(p);
		PEER_EXPECT(p, r.status == 200 && r.size == size_of(file), "file %u: status %u, size %llu", file, r.status,
			    (unsigned long long)r.size);
		expect_content(p, file, 0, r.size, 4000);
	}
}

static void run_parts(struct peer *p)
{
	char headers[2 * TEXT];

	while (!load_is_over()) {
		unsigned file = SMALL_FILES + (unsigned)peer_random(p, LARGE_FILES);
		uint64_t from = peer_random(p, size_of(file)), size = 1 + peer_random(p, 300000);

		if (size > size_of(file) - from)
			size = size_of(file) - from;
		snprintf(headers, sizeof(headers), "Range: bytes=%llu-%llu\r\n", (unsigned long long)from,
			 (unsigned long long)(from + size - 1));
		request(p, "GET", file, headers);
		peer_flush(p);
		struct response r = read_head(p);
		PEER_EXPECT(p, r.status == 206 && r.size == size, "part of file %u: status %u, size %llu instead of %llu",
			    file, r.status, (unsigned long long)r.size, (unsigned long long)size);
		expect_content(p, file, from, size, 0);
		load_pause_us(peer_random(p, 20000));
	}
}

const struct role http_roles[] = {
	{"pages", 5, run_pages}, {"downloads", 3, run_downloads}, {"parts", 2, run_parts}, {0},
};
