/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines for the operator on standard error, each with the program's name in
 * front and written by one call, so that threads do not mix. Standard output
 * belongs to the program in the enclave. A line that standard error does not take at once is lost.
 */
#ifndef HOST_LOG_H
#define HOST_LOG_H

void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
