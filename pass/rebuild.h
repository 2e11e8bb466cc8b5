/* SPDX-License-Identifier: Apache-2.0
 *
 * Computes again, outside a loop, a value that the loop computed: the address of
 * its last store, from the variables the loop counts with.
 */
#ifndef PASS_REBUILD_H
#define PASS_REBUILD_H

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/Analysis/LoopInfo.h"
#include "llvm/IR/IRBuilder.h"

namespace optmig
{

/* The instructions inside the loop that lead from its header phis to the value, in order. */
struct Recipe {
	llvm::Value *value = nullptr;
	llvm::SmallVector<llvm::Instruction *, 4> steps;
};

/* False if the value needs more than arithmetic on header phis and values from outside the loop. */
bool makeRecipe(llvm::Value *value, const llvm::Loop &loop, Recipe &recipe);

/* The same value, of which the optimizer knows nothing: loop strength reduction would otherwise keep a
 * variable up to date in every iteration for what is calculated here, which is rare. */
llvm::Value *opaque(llvm::IRBuilder<> &builder, llvm::Value *value);

/* What stands for what. */
using Rebuilt = llvm::SmallDenseMap<llvm::Value *, llvm::Value *, 8>;

/* read: what a header phi is at the place of rebuilding. fixed: what does not move with the loop, rebuilt already in a place
 * that comes before this one; added to. */
llvm::Value *rebuild(llvm::IRBuilder<> &builder, const Recipe &recipe, const llvm::BasicBlock *header,
		     llvm::function_ref<llvm::Value *(llvm::PHINode &)> read, Rebuilt &fixed);

} // namespace optmig

#endif
