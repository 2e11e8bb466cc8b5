/* SPDX-License-Identifier: Apache-2.0
 *
 * The enclave of a source, as far as it chooses pages (enclave/source_pages.c
 * itself), over a program's memory of which there are only the marks.
 */
#ifndef TESTS_MIGRATE_MODEL_H
#define TESTS_MIGRATE_MODEL_H

#include <stdint.h>
#include "abi/migrate.h"

#define MODEL_PAGES 32768u

/* A new session; all pages live. */
void model_begin(void);
/* The program writes to a page, from 0. */
void model_write(uint64_t page);
/* As MIGRATE_ROUND. ROUND_FINAL: all threads are parked. */
int model_round(uint64_t kind, uint64_t most, uint64_t grow, uint64_t ret[4]);
/* The map has gone: no round may begin before. */
void model_export(void);
/* What was chosen goes, all at once: pages that come into being there, that exist there, that are taken out. */
struct model_sent {
	uint64_t made, renewed, taken_out;
};
struct model_sent model_send(void);
/* After ROUND_FINAL: pages that stay behind. */
uint64_t model_left(void);

#endif
