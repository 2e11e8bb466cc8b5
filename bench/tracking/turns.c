/* SPDX-License-Identifier: Apache-2.0
 *
 * usage: turns SAMPLES PROGRAM... -- [ARGUMENT...]
 *
 * Runs the programs by turns, so that each sees the same machine, and says how
 * much processor time they took, for each in a line:
 *   least and median seconds; median, over the turns, of the ratio to the first
 * Processor time is the scheduler's exact count; what else runs on the machine
 * is not in it, but shares caches: hence turns, the least and the median.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAMS_MAX 8
#define SAMPLES_MAX 1000

static double seconds[PROGRAMS_MAX][SAMPLES_MAX];

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *value, int count)
{
	qsort(value, (size_t)count, sizeof(*value), compare);
	return count % 2 ? value[count / 2] : (value[count / 2 - 1] + value[count / 2]) / 2;
}

static double run(char *program, char **arguments)
{
	struct rusage used;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY);

		dup2(null, STDOUT_FILENO);
		dup2(null, STDERR_FILENO);
		arguments[0] = program;
		execv(program, arguments);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &used) != pid || status != 0) {
		fprintf(stderr, "turns: %s failed\n", program);
		exit(1);
	}
	return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
	       (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
	int programs = 0, samples = argc > 1 ? atoi(argv[1]) : 0;
	double ratio[SAMPLES_MAX];

	while (programs + 2 < argc && strcmp(argv[programs + 2], "--"))
		programs++;
	if (samples < 1 || samples > SAMPLES_MAX || programs < 1 || programs > PROGRAMS_MAX ||
	    programs + 2 >= argc) {
		fprintf(stderr, "usage: turns SAMPLES PROGRAM... -- [ARGUMENT...]\n");
		return 2;
	}
	for (int i = 0; i < samples; i++)
		for (int k = 0; k < programs; k++) {
			int now = (k + i) % programs; /* none is always the first */

			seconds[now][i] = run(argv[2 + now], argv + 2 + programs);
		}
	for (int k = programs - 1; k >= 0; k--) {
		for (int i = 0; i < samples; i++)
			ratio[i] = seconds[k][i] / seconds[0][i];
		double middle = median(ratio, samples);
		/* the first is sorted last: the others are compared with it sample by sample */
		double half = k ? median(seconds[k], samples) : median(seconds[0], samples);

		printf("%d %.6f %.6f %.4f\n", k, seconds[k][0], half, middle);
	}
	return 0;
}
