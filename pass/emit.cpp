/* SPDX-License-Identifier: Apache-2.0 */
#include "pass/emit.h"

#include "abi/layout.h"
#include "llvm/IR/InlineAsm.h"
#include "llvm/IR/IntrinsicsX86.h"
#include "llvm/IR/MDBuilder.h"
#include "llvm/Transforms/Utils/BasicBlockUtils.h"

using namespace llvm;

namespace optmig
{

/* ---- marks ---- */

static Value *pageOf(IRBuilder<> &builder, Value *address)
{
	return builder.CreateLShr(address, PAGE_SHIFT);
}

static void markPage(IRBuilder<> &builder, Value *page)
{
	Value *slot = builder.CreateAdd(builder.CreateAnd(page, MARKS_MASK), builder.getInt64(MARKS_BASE));
	StoreInst *mark =
	    builder.CreateStore(builder.getInt8(1), builder.CreateIntToPtr(slot, builder.getPtrTy()));

	mark->setAtomic(AtomicOrdering::Release);
	mark->setAlignment(Align(1));
}

static void fence(IRBuilder<> &builder)
{
	builder.CreateIntrinsic(Intrinsic::x86_sse_sfence, {}, {});
}

/* Pages first to last, out of line. The callee changes RDI only. */
static void callMarkRange(IRBuilder<> &builder, Value *first, Value *last)
{
	Type *word = builder.getInt64Ty();
	auto *type = FunctionType::get(word, {word, word}, false);
	auto *call = InlineAsm::get(type, "callq __optmig_mark_range",
				    "={di},0,{si},~{memory},~{dirflag},~{fpsr},~{flags}", true);

	builder.CreateCall(type, call, {first, last});
}

static MDNode *rarely(LLVMContext &context)
{
	return MDBuilder(context).createBranchWeights(1, 1 << 20);
}

/* Bytes first to last (addresses), first <= last: any number of pages. May split the block. */
static void markBytes(Instruction *before, Value *first, Value *last)
{
	IRBuilder<> builder(before);
	Value *firstPage = pageOf(builder, first), *lastPage = pageOf(builder, last);

	markPage(builder, firstPage);
	markPage(builder, lastPage);
	Value *more = builder.CreateICmpUGT(builder.CreateSub(lastPage, firstPage), builder.getInt64(1));
	Instruction *cold = SplitBlockAndInsertIfThen(more, before, false, rarely(builder.getContext()));
	IRBuilder<> coldBuilder(cold);

	callMarkRange(coldBuilder, firstPage, lastPage);
}

/* Do low and high lie in the same naturally aligned block, hence in one page? */
static bool inOnePage(const Span &span, const DataLayout &layout)
{
	Align align = span.align;
	int64_t anchor = span.anchor;

	if (Align own = span.base->getPointerAlignment(layout); own > align) {
		align = own;
		anchor = 0;
	}
	int64_t size = std::min<uint64_t>(align.value(), PAGE_SIZE);
	auto blockOf = [&](int64_t offset) {
		int64_t distance = offset - anchor;

		return distance >= 0 ? distance / size : -((-distance + size - 1) / size);
	};
	return blockOf(span.low) == blockOf(span.high);
}

/* More pages than those of its first and its last byte? */
static bool isWide(const Span &span)
{
	return span.high - span.low >= PAGE_SIZE;
}

static void markSpan(const Span &span)
{
	IRBuilder<> builder(span.last->getNextNode());
	Value *base = builder.CreatePtrToInt(span.base, builder.getInt64Ty());
	auto pageAt = [&](int64_t offset) {
		return pageOf(builder, builder.CreateAdd(base, builder.getInt64((uint64_t)offset)));
	};

	if (span.streamed)
		fence(builder);
	if (isWide(span)) {
		callMarkRange(builder, pageAt(span.low), pageAt(span.high));
		return;
	}
	markPage(builder, pageAt(span.low));
	if (!inOnePage(span, span.last->getModule()->getDataLayout()))
		markPage(builder, pageAt(span.high));
}

static void markScatter(CallBase &scatter)
{
	IRBuilder<> builder(scatter.getNextNode());

	for (const Lane &lane : scatterLanes(builder, scatter)) {
		Value *first = builder.CreatePtrToInt(lane.pointer, builder.getInt64Ty());
		Value *last = builder.CreateAdd(first, builder.getInt64(lane.size - 1));

		/* lanes that are off mark page 0, which nobody has */
		for (Value *address : {first, last})
			markPage(builder, builder.CreateSelect(lane.enabled, pageOf(builder, address),
							       builder.getInt64(0)));
	}
}

/* ---- polls ---- */

/* A test before the instruction; returns the end of the cold block, where the call is. */
static Instruction *emitTest(Instruction *before)
{
	IRBuilder<> builder(before);
	Value *word = builder.CreateIntToPtr(builder.getInt64(STOP_WORD), builder.getPtrTy());
	LoadInst *stop = builder.CreateLoad(builder.getInt8Ty(), word, true);

	return SplitBlockAndInsertIfThen(builder.CreateIsNotNull(stop), before, false,
					 rarely(builder.getContext()));
}

static void callSafepoint(Instruction *before)
{
	IRBuilder<> builder(before);
	auto *type = FunctionType::get(builder.getVoidTy(), false);

	builder.CreateCall(type, InlineAsm::get(type, "callq __optmig_safepoint",
						"~{memory},~{dirflag},~{fpsr},~{flags}", true));
}

static void emitPoll(Instruction *before)
{
	callSafepoint(emitTest(before));
}

/* ---- loops ---- */

using PhiReader = function_ref<Value *(PHINode &)>;

/*
 * Marks what the sweeps wrote in the last `count` iterations, the current one
 * included; or, if count is null, since the loop began.
 */
static void markSweeps(Instruction *before, const LoopPlan &plan, Value *count, PhiReader now)
{
	auto atStart = [&](PHINode &phi) { return phi.getIncomingValueForBlock(plan.entry->getParent()); };

	for (const Sweep &sweep : plan.sweeps) {
		IRBuilder<> builder(before);
		Type *word = builder.getInt64Ty();

		if (sweep.streamed)
			fence(builder);
		Value *last = builder.CreatePtrToInt(rebuild(builder, sweep.address, plan.header, now), word);
		Value *first = last;

		if (sweep.step != 0 && count) {
			Value *back = builder.CreateSub(count, builder.getInt64(1));

			first = builder.CreateSub(
			    last, builder.CreateMul(back, builder.getInt64((uint64_t)sweep.step)));
		} else if (sweep.step != 0) {
			first = builder.CreatePtrToInt(rebuild(builder, sweep.address, plan.header, atStart),
						       word);
		}
		if (sweep.step < 0)
			std::swap(first, last);
		markBytes(before, builder.CreateAdd(first, builder.getInt64((uint64_t)sweep.low)),
			  builder.CreateAdd(last, builder.getInt64((uint64_t)sweep.high)));
	}
}

/* The phi's value after this iteration is at hand where the loop is left: reading the phi itself there
 * would keep two registers alive through the loop. */
static Value *phiFromNext(IRBuilder<> &builder, PHINode &phi, const LoopPlan &plan)
{
	Value *next = phi.getIncomingValueForBlock(plan.latches[0]->getParent());
	const DataLayout &layout = phi.getModule()->getDataLayout();

	if (auto *sum = dyn_cast<BinaryOperator>(next)) {
		auto *by = dyn_cast<ConstantInt>(sum->getOperand(1));

		if (sum->getOpcode() == Instruction::Add && sum->getOperand(0) == &phi && by)
			return builder.CreateSub(sum, by);
	} else if (auto *address = dyn_cast<GetElementPtrInst>(next)) {
		APInt offset(64, 0);

		if (address->getPointerOperand() == &phi && address->accumulateConstantOffset(layout, offset))
			return builder.CreatePtrAdd(address,
						    builder.getInt64((uint64_t)-offset.getSExtValue()));
	}
	return &phi;
}

/* Only the latch leaves to this block: everything computed in the iteration is at hand. */
static bool leftFromLatchOnly(const BasicBlock *exit, const LoopPlan &plan)
{
	return exit->getSinglePredecessor() == plan.latches[0]->getParent();
}

static void emitExits(const LoopPlan &plan,
		      function_ref<Value *(BasicBlock *exit, IRBuilder<> &builder)> count)
{
	for (BasicBlock *exit : plan.exits) {
		Instruction *before = &*exit->getFirstInsertionPt();
		IRBuilder<> builder(before);
		bool next = leftFromLatchOnly(exit, plan);
		Value *iterations = count(exit, builder);

		markSweeps(before, plan, iterations, [&](PHINode &phi) -> Value * {
			IRBuilder<> at(before);

			return next ? phiFromNext(at, phi, plan) : &phi;
		});
	}
}

/*
 *   header:  left = phi [LOOP_STRIP, preheader], [again, latch]
 *   latch:   less = left - 1; if (less == 0) { marks of the strip; poll }
 *            again = phi [less], [LOOP_STRIP, after the poll]
 */
static void emitCounted(const LoopPlan &plan)
{
	IRBuilder<> builder(&plan.header->front());
	Type *word = builder.getInt64Ty();
	Constant *strip = builder.getInt64(LOOP_STRIP);
	PHINode *left = builder.CreatePHI(word, 2);
	BasicBlock *test = plan.latches[0]->getParent();

	builder.SetInsertPoint(plan.latches[0]);
	Value *less = builder.CreateSub(left, builder.getInt64(1));
	Instruction *cold =
	    SplitBlockAndInsertIfThen(builder.CreateIsNull(less), plan.latches[0], false,
				      MDBuilder(builder.getContext()).createBranchWeights(1, LOOP_STRIP));
	BasicBlock *bottom = cold->getSuccessor(0);
	PHINode *again = PHINode::Create(word, 2, "", bottom->begin());

	again->addIncoming(less, test);
	again->addIncoming(strip, cold->getParent());
	left->addIncoming(strip, plan.entry->getParent());
	left->addIncoming(again, bottom);
	emitExits(plan, [&](BasicBlock *exit, IRBuilder<> &at) -> Value * {
		/* at the latch, `again` is what is at hand; LOOP_STRIP means all was marked just now, and one
		 * iteration is marked once more */
		if (leftFromLatchOnly(exit, plan))
			return at.CreateBinaryIntrinsic(Intrinsic::umax, at.CreateSub(strip, again),
							at.getInt64(1));
		return at.CreateSub(at.getInt64(LOOP_STRIP + 1), left);
	});
	markSweeps(cold, plan, strip, [](PHINode &phi) { return &phi; });
	emitPoll(cold);
	/* marking and polling may have split the cold block */
	again->setIncomingBlock(1, cold->getParent());
}

static void emitLoop(const LoopPlan &plan)
{
	if (plan.poll == Poll::Counted)
		return emitCounted(plan);
	emitExits(plan, [](BasicBlock *, IRBuilder<> &) { return nullptr; });
	if (plan.poll == Poll::Each)
		for (Instruction *latch : plan.latches)
			emitPoll(latch);
}

/* All of the entry block's variables must stay in the entry block, or they become dynamic. */
static void emitEntryPoll(Function &function)
{
	BasicBlock &entry = function.getEntryBlock();
	BasicBlock::iterator start = entry.getFirstNonPHIOrDbgOrAlloca();

	for (Instruction &instruction : make_early_inc_range(make_range(start, entry.end())))
		if (auto *variable = dyn_cast<AllocaInst>(&instruction);
		    variable && variable->isStaticAlloca())
			variable->moveBefore(&*start);
	emitPoll(&*start);
}

/* Does the function now hold calls that the compiler does not know as such? They would overwrite what it
 * keeps below the stack pointer. */
static bool callsOutOfLine(const Plan &plan)
{
	if (plan.pollAtEntry)
		return true;
	for (const LoopPlan &loop : plan.loops)
		if (loop.poll != Poll::None || !loop.sweeps.empty())
			return true;
	return any_of(plan.spans, isWide);
}

void emitPlan(Function &function, const Plan &plan)
{
	for (const Span &span : plan.spans)
		markSpan(span);
	for (CallBase *scatter : plan.scatters)
		markScatter(*scatter);
	for (const LoopPlan &loop : plan.loops)
		emitLoop(loop);
	if (plan.pollAtEntry)
		emitEntryPoll(function);
	if (callsOutOfLine(plan))
		function.addFnAttr(Attribute::NoRedZone);
}

} // namespace optmig
