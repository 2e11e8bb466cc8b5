/* SPDX-License-Identifier: Apache-2.0
 *
 * Where marks go: decided on the unchanged function, carried out by emit.h.
 *
 *   straight code  writes that start from the same pointer are merged, as far as
 *                  nothing needs them marked (a call, an atomic, assembly, the
 *                  end of the block), and marked after the last of the stretch
 *   loops          without calls: a store that every iteration makes, at an
 *                  address that moves by a constant, is marked as a range where
 *                  the loop is left and once every LOOP_STRIP iterations
 */
#ifndef PASS_PLAN_H
#define PASS_PLAN_H

#include "llvm/ADT/DenseSet.h"
#include "llvm/Analysis/LoopInfo.h"
#include "llvm/Analysis/ScalarEvolution.h"
#include "pass/rebuild.h"
#include "pass/writes.h"

namespace optmig
{

/* Bytes [low, high] relative to base, at most a page apart. */
struct Span {
	llvm::Value *base;
	int64_t low, high;
	/* base + anchor is a multiple of align: may prove that the span lies in one page */
	int64_t anchor;
	llvm::Align align;
	bool streamed;
};

/* What instructions up to `last` write, with nothing in between that needs it marked. */
struct Stretch {
	llvm::SmallVector<Span, 4> spans;
	llvm::Instruction *last;
	bool polls; /* the test for marking also is the poll of a loop, or the function's at entry */
};

/* In every iteration, [address + low, address + high] is written; address moves by step. */
struct Sweep {
	Recipe address;
	int64_t low, high;
	int64_t step;
	bool streamed;
};

enum class Poll {
	None,	 /* short, or calls something that polls */
	Each,	 /* test the stop word in every iteration */
	Counted, /* every LOOP_STRIP iterations */
};

constexpr unsigned LOOP_STRIP = 1024;

/* Ends of blocks rather than blocks: emitting splits blocks, and the end is what moves along. */
struct LoopPlan {
	llvm::BasicBlock *header;
	llvm::SmallVector<llvm::Instruction *, 4> latches;
	Poll poll;
	/* the rest only if sweeps or Counted; the loop then has one latch */
	llvm::Instruction *entry; /* end of the preheader */
	llvm::SmallVector<llvm::BasicBlock *, 4> exits;
	llvm::SmallVector<Sweep, 4> sweeps;
	/* Counted: moves by plus or minus 1 << counterShift in every iteration; null if there is no such variable */
	llvm::PHINode *counter;
	unsigned counterShift;
};

struct Plan {
	std::vector<Stretch> stretches;
	std::vector<llvm::CallBase *> scatters;
	std::vector<LoopPlan> loops;
	bool pollAtEntry = false;
};

/* Functions of the module that poll whenever they are called. */
using PollingFunctions = llvm::DenseSet<const llvm::Function *>;

bool pollsAtEntry(const llvm::Function &function);

Plan makePlan(llvm::Function &function, llvm::LoopInfo &loops, llvm::ScalarEvolution &evolution,
	      llvm::DominatorTree &tree, const PollingFunctions &polling);

} // namespace optmig

#endif
