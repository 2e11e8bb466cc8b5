/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes marks and polls into a function, as planned.
 *
 *   mark  release store of 1 to MARKS_BASE + ((address >> 12) & MARKS_MASK).
 *         Release, because LLVM would move a data store past a plain or a
 *         volatile one; on x86 it is the same instruction.
 *   poll  cmpb $0, STOP_WORD, and a cold block with one call of the stub that
 *         saves every register. Functions that poll have no red zone, so the
 *         call needs no room and unwinders see an ordinary frame.
 */
#ifndef PASS_EMIT_H
#define PASS_EMIT_H

#include "pass/plan.h"

namespace optmig
{

void emitPlan(llvm::Function &function, const Plan &plan);

} // namespace optmig

#endif
