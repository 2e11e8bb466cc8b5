/* SPDX-License-Identifier: Apache-2.0
 *
 * What the pass writes into every object and optmig-ld compares. To be raised
 * whenever objects of before and after must not be linked together: how marks
 * are made, which globals count as small, what the stubs are called.
 */
#ifndef PASS_VERSION_H
#define PASS_VERSION_H

#define PASS_NOTE_SECTION ".note.optmig.obj"
#define PASS_NOTE "optmig-pass 3"

#endif
