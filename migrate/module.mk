# SPDX-License-Identifier: Apache-2.0
include tests/migrate/module.mk
