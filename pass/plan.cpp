/* SPDX-License-Identifier: Apache-2.0 */
#include "pass/plan.h"

#include "abi/layout.h"
#include "llvm/Analysis/CFG.h"
#include "llvm/Analysis/ScalarEvolutionExpressions.h"
#include "llvm/IR/Dominators.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"

using namespace llvm;

namespace optmig
{

/* Trip counts up to which a loop needs no poll: without and with loops or calls inside. */
static constexpr unsigned SHORT_INNER = 1024;
static constexpr unsigned SHORT_OUTER = 16;
/* A larger body hides the cost of testing the stop word each time. */
static constexpr unsigned COUNTED_BODY_MAX = 24;
static constexpr unsigned MALLOC_ALIGN = 16;
/* Each exit gets its own marks: a switch that leaves a loop in a hundred ways is not worth it. */
static constexpr unsigned EXITS_MAX = 8;

/* ---- straight code ---- */

static void addWrite(const DataLayout &layout, const Write &write, SmallVectorImpl<Span> &spans)
{
	APInt offset(64, 0);
	Value *base = write.pointer->stripAndAccumulateConstantOffsets(layout, offset, true);
	int64_t low = offset.getSExtValue(), high = low + (int64_t)write.size - 1;

	for (Span &span : spans) {
		int64_t newLow = std::min(span.low, low), newHigh = std::max(span.high, high);

		if (span.base != base || newHigh - newLow >= PAGE_SIZE)
			continue;
		span.low = newLow;
		span.high = newHigh;
		span.streamed |= write.streamed;
		if (write.align > span.align) {
			span.align = write.align;
			span.anchor = low;
		}
		/* A type may promise more than malloc() gives: each store still is whole, all together are not. */
		if (!isa<GlobalVariable>(base) && !isa<AllocaInst>(base))
			span.align = std::min(span.align, Align(MALLOC_ALIGN));
		return;
	}
	spans.push_back({base, low, high, low, write.align, write.streamed});
}

static void planBlock(BasicBlock &block, const DenseSet<Instruction *> &swept, Plan &plan)
{
	const DataLayout &layout = block.getModule()->getDataLayout();
	SmallVector<Write, 4> writes;
	bool open = false;

	for (Instruction &instruction : block) {
		if (isBarrier(instruction))
			open = false;
		if (swept.contains(&instruction))
			continue;
		writes.clear();
		writesOf(instruction, writes);
		for (const Write &write : writes) {
			if (write.scatter) {
				plan.scatters.push_back(write.scatter);
				continue;
			}
			if (!open)
				plan.stretches.push_back({});
			open = true;
			addWrite(layout, write, plan.stretches.back().spans);
			plan.stretches.back().last = &instruction;
		}
	}
}

/* ---- loops ---- */

static bool hasBarrier(const Loop &loop)
{
	for (const BasicBlock *block : loop.blocks())
		for (const Instruction &instruction : *block)
			if (isBarrier(instruction))
				return true;
	return false;
}

static unsigned bodySize(const Loop &loop)
{
	unsigned size = 0;

	for (const BasicBlock *block : loop.blocks())
		size += block->sizeWithoutDebug();
	return size;
}

/* Does every iteration call something that polls? */
static bool pollsInside(Loop &loop, LoopInfo &loops, DominatorTree &tree, const PollingFunctions &polling)
{
	SmallVector<BasicBlock *, 4> latches;

	loop.getLoopLatches(latches);
	for (BasicBlock *block : loop.blocks()) {
		if (loops.getLoopFor(block) != &loop ||
		    !all_of(latches, [&](BasicBlock *latch) { return tree.dominates(block, latch); }))
			continue;
		for (const Instruction &instruction : *block)
			if (auto *call = dyn_cast<CallBase>(&instruction))
				if (call->getCalledFunction() && polling.contains(call->getCalledFunction()))
					return true;
	}
	return false;
}

static bool isShort(Loop &loop, ScalarEvolution &evolution, bool barrier)
{
	unsigned limit = loop.isInnermost() && !barrier ? SHORT_INNER : SHORT_OUTER;
	unsigned count = evolution.getSmallConstantMaxTripCount(&loop);

	return count && count <= limit;
}

/* The same loop invariant distance between two sweeps: one range serves both. */
static bool mergeSweep(Loop &loop, ScalarEvolution &evolution, const Sweep &sweep,
		       SmallVectorImpl<Sweep> &sweeps)
{
	for (Sweep &other : sweeps) {
		if (other.step != sweep.step)
			continue;
		auto *distance = dyn_cast<SCEVConstant>(evolution.getMinusSCEV(
		    evolution.getSCEV(sweep.address.value), evolution.getSCEV(other.address.value)));
		if (!distance)
			continue;
		int64_t offset = distance->getAPInt().getSExtValue();

		if (std::abs(offset) > PAGE_SIZE)
			continue;
		other.low = std::min(other.low, offset + sweep.low);
		other.high = std::max(other.high, offset + sweep.high);
		other.streamed |= sweep.streamed;
		return true;
	}
	return false;
}

static void planSweeps(Loop &loop, ScalarEvolution &evolution, DominatorTree &tree, LoopPlan &plan,
		       DenseSet<Instruction *> &swept)
{
	SmallVector<Write, 4> writes;

	for (BasicBlock *block : loop.blocks()) {
		if (!tree.dominates(block, loop.getLoopLatch()))
			continue;
		for (Instruction &instruction : *block) {
			writes.clear();
			writesOf(instruction, writes);
			/* one write each: an instruction is swept as a whole or not at all */
			Recipe recipe;
			if (writes.size() != 1 || writes[0].scatter ||
			    !makeRecipe(writes[0].pointer, loop, recipe))
				continue;
			const SCEV *address = evolution.getSCEV(writes[0].pointer);
			int64_t step = 0;

			if (!evolution.isLoopInvariant(address, &loop)) {
				auto *moving = dyn_cast<SCEVAddRecExpr>(address);
				auto *by = moving && moving->getLoop() == &loop && moving->isAffine()
					       ? dyn_cast<SCEVConstant>(moving->getStepRecurrence(evolution))
					       : nullptr;
				if (!by || by->getAPInt().abs().ugt(PAGE_SIZE))
					continue;
				step = by->getAPInt().getSExtValue();
			}
			Sweep sweep = {recipe, 0, (int64_t)writes[0].size - 1, step, writes[0].streamed};

			if (!mergeSweep(loop, evolution, sweep, plan.sweeps))
				plan.sweeps.push_back(sweep);
			swept.insert(&instruction);
		}
	}
}

/* A variable of the loop whose bits say when LOOP_STRIP iterations have passed. */
static void findCounter(Loop &loop, ScalarEvolution &evolution, LoopPlan &plan)
{
	for (PHINode &phi : plan.header->phis()) {
		unsigned width = evolution.isSCEVable(phi.getType()) ? evolution.getTypeSizeInBits(phi.getType()) : 0;
		auto *moving = width >= 32 ? dyn_cast<SCEVAddRecExpr>(evolution.getSCEV(&phi)) : nullptr;
		auto *by = moving && moving->getLoop() == &loop && moving->isAffine()
			       ? dyn_cast<SCEVConstant>(moving->getStepRecurrence(evolution))
			       : nullptr;

		if (!by || !by->getAPInt().abs().isPowerOf2() || by->getAPInt().abs().ugt(PAGE_SIZE))
			continue;
		plan.counter = &phi;
		plan.counterShift = by->getAPInt().abs().logBase2();
		return;
	}
}

/* An edge that closes a cycle: from, to. */
using Edge = std::pair<const BasicBlock *, const BasicBlock *>;

static LoopPlan planLoop(Loop &loop, LoopInfo &loops, ScalarEvolution &evolution, DominatorTree &tree,
			 const PollingFunctions &polling, ArrayRef<Edge> irreducible, DenseSet<Instruction *> &swept)
{
	LoopPlan plan{};
	/* a cycle inside that is no loop of its own polls, too */
	bool barrier = hasBarrier(loop) ||
		       any_of(irreducible, [&](const Edge &edge) { return loop.contains(edge.first); });

	SmallVector<BasicBlock *, 4> latches;

	plan.header = loop.getHeader();
	loop.getLoopLatches(latches);
	for (BasicBlock *latch : latches)
		plan.latches.push_back(latch->getTerminator());
	plan.poll = isShort(loop, evolution, barrier) || pollsInside(loop, loops, tree, polling) ? Poll::None
												 : Poll::Each;
	auto *back = loop.getLoopLatch() ? dyn_cast<BranchInst>(loop.getLoopLatch()->getTerminator()) : nullptr;
	if (barrier || !loop.isInnermost() || !loop.isLoopSimplifyForm() || !back ||
	    (back->isConditional() && back->getSuccessor(0) == back->getSuccessor(1)))
		return plan;
	plan.entry = loop.getLoopPreheader()->getTerminator();
	loop.getUniqueExitBlocks(plan.exits);
	if (plan.exits.size() <= EXITS_MAX &&
	    none_of(plan.exits, [](BasicBlock *exit) { return exit->isEHPad(); }))
		planSweeps(loop, evolution, tree, plan, swept);
	findCounter(loop, evolution, plan);
	if (plan.poll == Poll::Each &&
	    (!plan.sweeps.empty() || (plan.counter && bodySize(loop) <= COUNTED_BODY_MAX)))
		plan.poll = Poll::Counted;
	return plan;
}

/* Of cycles that are no natural loops: goto into the middle of one. */
static SmallVector<Edge, 8> irreducibleEdges(Function &function, LoopInfo &loops)
{
	SmallVector<Edge, 8> edges;

	FindFunctionBackedges(function, edges);
	erase_if(edges, [&](const Edge &edge) {
		Loop *loop = loops.getLoopFor(edge.second);

		return loop && loop->getHeader() == edge.second && loop->contains(edge.first);
	});
	return edges;
}

static void planIrreducible(ArrayRef<Edge> edges, std::vector<LoopPlan> &plans)
{
	for (auto &[from, to] : edges) {
		LoopPlan plan{};
		plan.header = const_cast<BasicBlock *>(to);
		plan.latches.push_back(const_cast<BasicBlock *>(from)->getTerminator());
		plan.poll = Poll::Each;
		plans.push_back(plan);
	}
}

/* A program's own of these is called by the code generator as if it were an instruction, with marks pending. */
static bool isLikeInstruction(const Function &function)
{
	StringRef name = function.getName();

	return name == "memcpy" || name == "memmove" || name == "memset";
}

bool pollsAtEntry(const Function &function)
{
	if (isLikeInstruction(function))
		return false;
	for (const Instruction &instruction : instructions(function))
		if (isCall(instruction) && !isa<IntrinsicInst>(instruction))
			return true;
	return false;
}

/* Where marks are tested for anyway, one test does for both. */
static void mergePolls(Function &function, LoopInfo &loops, DominatorTree &tree, Plan &plan)
{
	for (Stretch &stretch : plan.stretches) {
		BasicBlock *block = stretch.last->getParent();

		for (LoopPlan &loop : plan.loops)
			if (loop.poll != Poll::None && loop.sweeps.empty() && loops.getLoopFor(block) &&
			    loops.getLoopFor(block)->getHeader() == loop.header &&
			    all_of(loop.latches, [&](Instruction *latch) { return tree.dominates(stretch.last, latch); })) {
				loop.poll = Poll::None;
				stretch.polls = true;
			}
	}
	if (!plan.pollAtEntry)
		return;
	for (Stretch &stretch : plan.stretches) {
		if (!stretch.last->getParent()->isEntryBlock())
			continue;
		for (const Instruction &instruction : function.getEntryBlock()) {
			if (isCall(instruction))
				return;
			if (&instruction == stretch.last) {
				plan.pollAtEntry = false;
				stretch.polls = true;
				return;
			}
		}
	}
}

Plan makePlan(Function &function, LoopInfo &loops, ScalarEvolution &evolution, DominatorTree &tree,
	      const PollingFunctions &polling)
{
	DenseSet<Instruction *> swept;
	SmallVector<Edge, 8> irreducible = irreducibleEdges(function, loops);
	Plan plan;

	plan.pollAtEntry = pollsAtEntry(function);
	for (Loop *loop : loops.getLoopsInPreorder())
		plan.loops.push_back(planLoop(*loop, loops, evolution, tree, polling, irreducible, swept));
	planIrreducible(irreducible, plan.loops);
	if (isLikeInstruction(function))
		for (LoopPlan &loop : plan.loops)
			loop.poll = Poll::None;
	for (BasicBlock &block : function)
		if (tree.isReachableFromEntry(&block))
			planBlock(block, swept, plan);
	mergePolls(function, loops, tree, plan);
	return plan;
}

} // namespace optmig
