/* SPDX-License-Identifier: Apache-2.0
 *
 * A client for each server that is moved, which knows every answer beforehand.
 * A connection is a thread that does one thing after the other; whatever is not
 * as expected (a wrong answer, one that does not come, a broken connection) is
 * said, counted and the end of that thread. Nothing is ever connected again.
 */
#ifndef TESTS_SERVERS_LOAD_H
#define TESTS_SERVERS_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct peer {
	const char *role;
	unsigned id;
	uint64_t random;
	int fd;
	char *in, *out;
	size_t in_start, in_end, out_size;
	uint64_t operations;     /* answers checked */
	uint64_t silence_us_max; /* longest time without a byte while an answer was due */
	bool is_patient;         /* silence is nothing unusual here: not counted */
};

/* What a server's file tells load.c: `count` threads of each role. */
struct role {
	const char *name;
	unsigned count;
	void (*run)(struct peer *p);
};
/* Each ends with a role without a name. */
extern const struct role redis_roles[], memcached_roles[], http_roles[];

bool load_is_over(void);
uint64_t load_now_us(void);
void load_pause_us(uint64_t us);

void peer_connect(struct peer *p);
void peer_close(struct peer *p);
/* Does not return. */
_Noreturn void peer_fail(struct peer *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define PEER_EXPECT(p, condition, ...)               \
	do {                                         \
		if (!(condition))                    \
			peer_fail(p, __VA_ARGS__);   \
	} while (0)
uint64_t peer_random(struct peer *p, uint64_t below);

/* Sending is gathered until peer_flush(). */
void peer_put(struct peer *p, const void *data, size_t size);
void peer_printf(struct peer *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
void peer_flush(struct peer *p);
/* A line without its CR LF, good until the next call. */
char *peer_line(struct peer *p);
/* size bytes, at most PEER_BUFFER, good until the next call; with partly, what is there, at least one. */
#define PEER_BUFFER (1u << 18)
char *peer_take(struct peer *p, size_t size);
size_t peer_take_some(struct peer *p, size_t most, char **data);

/* Text that follows from the seed alone; ends with a zero. */
void noise_text(uint64_t seed, char *out, size_t size);

/* Files of known content for the HTTP server: made beforehand, recognized on arrival. */
int http_make_files(const char *directory);

#endif
