/* SPDX-License-Identifier: Apache-2.0
 *
 * The device behind the descriptors. device.c knows descriptors and dispatches,
 * build.c makes enclaves (CREATE, ADD_PAGES, INIT), sgx2.c changes running ones.
 *
 * Handlers get their argument already copied in and run with signals blocked and
 * the enclave marked busy, not locked.
 */
#ifndef SOFTSGX_DEVICE_H
#define SOFTSGX_DEVICE_H

#include "softsgx/enclave.h"

int device_init(void);
/* 1 if fd is a provisioning device. */
int device_is_provision(int fd);
/* The enclave of a descriptor, or NULL. */
struct enclave *device_enclave(int fd);

long build_create(struct enclave *e, void *arg);
long build_add_pages(struct enclave *e, void *arg);
long build_init(struct enclave *e, void *arg);
long build_provision(struct enclave *e, void *arg);
long sgx2_restrict(struct enclave *e, void *arg);
long sgx2_modify_types(struct enclave *e, void *arg);
long sgx2_remove(struct enclave *e, void *arg);

/* Rule OL: whole pages inside the enclave. */
int device_range_ok(const struct enclave *e, uint64_t offset, uint64_t length);

#endif
