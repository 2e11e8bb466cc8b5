/* SPDX-License-Identifier: Apache-2.0
 *
 * Writes marks and polls into a function, as planned.
 *
 *   test  cmpb $0, TRACK_WORD after the stores of a stretch, and marks in a
 *         section of their own (.text.optmig), which is left by a jump back.
 *         Assembly for straight code, so that the code generator sees one
 *         instruction that keeps nothing apart; blocks for what loops leave.
 *   mark  store of 1 to MARKS_BASE + ((address >> 12) & MARKS_MASK), after the
 *         data: assembly that clobbers memory, or a release store, because LLVM
 *         would move a data store past a plain or a volatile one.
 *   poll  cmpb $0, STOP_WORD, and out of the way a jump to the stub that saves
 *         every register, with a place in the function as its return address:
 *         unwinders see an ordinary call. Functions that poll have no red zone.
 *         Where a stretch is tested anyway, cmpw $0 tests both words in one.
 */
#ifndef PASS_EMIT_H
#define PASS_EMIT_H

#include "pass/plan.h"

namespace optmig
{

void emitPlan(llvm::Function &function, const Plan &plan);

} // namespace optmig

#endif
