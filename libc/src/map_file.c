/* SPDX-License-Identifier: Apache-2.0
 *
 * Files that the C library maps and then goes by. Their content is the host's,
 * and musl follows the counts and offsets in them without looking where they
 * all lead: it would show what lies behind the file. So a time zone (RFC 8536)
 * and a table of messages (GNU gettext's .mo) have to be well-formed to be seen
 * at all, and other files, as catgets() has them, are not seen.
 */
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HEADER = 44, TYPE = 6 };

struct text {
	const char *at, *end;
};

static uint32_t be32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool take(struct text *t, char c)
{
	if (t->at == t->end || *t->at != c)
		return false;
	t->at++;
	return true;
}

static bool at_digit(const struct text *t)
{
	return t->at < t->end && *t->at >= '0' && *t->at <= '9';
}

static bool take_number(struct text *t, unsigned low, unsigned high)
{
	unsigned n = 0;
	if (!at_digit(t))
		return false;
	while (at_digit(t) && n <= high)
		n = n * 10 + (unsigned)(*t->at++ - '0');
	return n >= low && n <= high;
}

static bool take_time(struct text *t) /* [+-]h[:m[:s]] */
{
	if (!take(t, '-'))
		take(t, '+');
	return take_number(t, 0, 167) &&
	       (!take(t, ':') || (take_number(t, 0, 59) && (!take(t, ':') || take_number(t, 0, 59))));
}

static bool take_name(struct text *t)
{
	const char *from = t->at;
	bool quoted = take(t, '<');
	while (t->at < t->end && (((*t->at | 32) >= 'a' && (*t->at | 32) <= 'z') ||
				  (quoted && (at_digit(t) || *t->at == '+' || *t->at == '-'))))
		t->at++;
	return t->at > from && (!quoted || take(t, '>'));
}

static bool take_rule(struct text *t)
{
	bool day;
	if (take(t, 'M'))
		day = take_number(t, 1, 12) && take(t, '.') && take_number(t, 1, 5) && take(t, '.') &&
		      take_number(t, 0, 6);
	else
		day = take(t, 'J') ? take_number(t, 1, 365) : take_number(t, 0, 365);
	return day && (!take(t, '/') || take_time(t));
}

/* What holds after the last transition, as TZ has it: between the last two newlines. */
static bool footer_is_good(const unsigned char *file, size_t size)
{
	struct text t = {.at = (const char *)file + size - 1, .end = (const char *)file + size - 1};
	while (t.at > (const char *)file && t.at[-1] != '\n')
		t.at--;
	if (t.at == (const char *)file)
		return false;
	if (t.at == t.end)
		return true;
	if (!take_name(&t) || !take_time(&t))
		return false;
	if (t.at == t.end)
		return true;
	if (!take_name(&t) || (t.at < t.end && *t.at != ',' && !take_time(&t)))
		return false;
	return t.at == t.end ||
	       (take(&t, ',') && take_rule(&t) && take(&t, ',') && take_rule(&t) && t.at == t.end);
}

/* The data behind a header, times being of so many bytes. */
static bool data_is_good(const unsigned char *header, const unsigned char *end, size_t time_size)
{
	const unsigned char *index = header + HEADER;
	uint64_t times = be32(header + 32), types = be32(header + 36), chars = be32(header + 40);
	if (types == 0 || chars == 0 ||
	    times * (time_size + 1) + types * TYPE + chars > (uint64_t)(end - index))
		return false;
	index += times * time_size;
	const unsigned char *type = index + times, *names = type + types * TYPE;
	for (uint64_t i = 0; i < times; i++)
		if (index[i] >= types)
			return false;
	for (uint64_t i = 0; i < types; i++)
		if (type[i * TYPE + 5] >= chars)
			return false;
	return names[chars - 1] == 0;
}

static bool zone_is_good(const unsigned char *file, size_t size)
{
	if (file[size - 1] == '\n' && !footer_is_good(file, size))
		return false;
	if (file[4] == '1')
		return data_is_good(file, file + size, 4);
	/* 32-bit data first, which is passed over, then all again with 64-bit times */
	static const unsigned char each[] = {1, 1, 8, 5, TYPE, 1};
	uint64_t skip = HEADER;
	for (unsigned i = 0; i < sizeof each; i++)
		skip += each[i] * (uint64_t)be32(file + 20 + 4 * i);
	return skip <= size - HEADER && data_is_good(file + skip, file + size, 8);
}

/* Strings are looked at by who reads them, the tables of their places are not. */
static bool messages_are_good(const unsigned char *file, size_t size)
{
	uint32_t word[5];
	memcpy(word, file, sizeof word);
	if (word[0] != 0x950412de)
		for (unsigned i = 0; i < 5; i++)
			word[i] = __builtin_bswap32(word[i]);
	uint64_t table = 8 * (uint64_t)word[2];
	return word[0] == 0x950412de && table > 0 && word[3] + table <= size && word[4] + table <= size;
}

static bool may_be_seen(const unsigned char *file, size_t size)
{
	if (size < HEADER)
		return false;
	return memcmp(file, "TZif", 4) == 0 ? zone_is_good(file, size) : messages_are_good(file, size);
}

const unsigned char *__map_file(const char *path, size_t *size)
{
	int fd = (int)syscall(SYS_open, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	void *file = MAP_FAILED;
	if (fd < 0)
		return NULL;
	/* private: what has been looked at stays as it was */
	if (fstat(fd, &st) == 0)
		file = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	syscall(SYS_close, fd);
	if (file == MAP_FAILED)
		return NULL;
	if (!may_be_seen(file, (size_t)st.st_size)) {
		munmap(file, (size_t)st.st_size);
		return NULL;
	}
	*size = (size_t)st.st_size;
	return file;
}
