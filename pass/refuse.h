/* SPDX-License-Identifier: Apache-2.0
 *
 * What cannot be tracked is an error with file, line and remedy, never a hole.
 */
#ifndef PASS_REFUSE_H
#define PASS_REFUSE_H

#include "llvm/IR/Module.h"

namespace optmig
{

/* Reports every construct of the module whose writes the pass cannot see. */
void refuseUntrackable(llvm::Module &module);

} // namespace optmig

#endif
