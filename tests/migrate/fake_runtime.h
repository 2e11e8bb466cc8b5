/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_MIGRATE_FAKE_RUNTIME_H
#define TESTS_MIGRATE_FAKE_RUNTIME_H

#include "tests/migrate/pair.h"

/* Answers calls on fd as an enclave of that identity that believes the given root. Does not return. */
_Noreturn void fake_runtime_serve(int fd, const struct identity *who, const uint8_t key[static 64]);

#endif
