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

/* Bytes first to last (addresses), first <= last: any number of pages. Short loops mostly stay in one, and to long ones a call
 * is little. May split the block. */
static void markBytes(Instruction *before, Value *first, Value *last)
{
	IRBuilder<> builder(before);
	Value *firstPage = pageOf(builder, first), *lastPage = pageOf(builder, last);

	markPage(builder, firstPage);
	Value *more = builder.CreateICmpNE(firstPage, lastPage);
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

static void markWide(const Span &span, Instruction *before)
{
	IRBuilder<> builder(before);
	Value *base = builder.CreatePtrToInt(span.base, builder.getInt64Ty());
	auto pageAt = [&](int64_t offset) {
		return pageOf(builder, builder.CreateAdd(base, builder.getInt64((uint64_t)offset)));
	};

	if (span.streamed)
		fence(builder);
	callMarkRange(builder, pageAt(span.low), pageAt(span.high));
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

/* ---- tests and what they lead to, out of the way ---- */

static std::string number(uint64_t value)
{
	return std::to_string(value);
}

/* Assembly at the insertion point: tests the word, and has `cold` in a section of its own for when it is not
 * zero. Assembly and not blocks, because blocks of their own would keep the code generator from folding what
 * surrounds the test. */
static CallInst *emitTested(IRBuilder<> &builder, const std::string &test, const std::string &cold, Type *result,
			    ArrayRef<Value *> operands, const std::string &constraints)
{
	SmallVector<Type *, 4> types;
	std::string text = test + " 1f\n2:\n\t.pushsection .text.optmig,\"ax\",@progbits\n1:\t" + cold + ".popsection";

	for (Value *operand : operands)
		types.push_back(operand->getType());
	auto *type = FunctionType::get(result, types, false);
	auto *code = InlineAsm::get(type, text, constraints + "~{memory},~{dirflag},~{fpsr},~{flags}", true);

	return builder.CreateCall(type, code, operands);
}

static std::string testOf(const char *compare, uint64_t word)
{
	return std::string(compare) + " $$0, " + number(word) + "\n\tjne";
}

/* The stub returns to the function itself: to who looks at the stack it is a call from there. */
static const char toSafepoint[] = "pushq $$2b\n\tjmp __optmig_safepoint\n\t";

/* ... from code that is come to for something else as well. */
static std::string toSafepointIfAsked()
{
	return "cmpb $$0, " + number(STOP_WORD) + "\n\tje 2b\n\t" + toSafepoint;
}

static void emitPoll(Instruction *before)
{
	IRBuilder<> builder(before);

	emitTested(builder, testOf("cmpb", STOP_WORD), toSafepoint, builder.getVoidTy(), {}, "");
}

/* Marks the page of operand + offset, with $0 to calculate in. */
static std::string markText(size_t operand, int64_t offset)
{
	std::string text = "leaq $" + number(operand) + ", $0\n\t";

	if (offset)
		text += "addq $$" + number((uint64_t)offset) + ", $0\n\t";
	return text + "shrq $$" + number(PAGE_SHIFT) + ", $0\n\tandl $$" + number(MARKS_MASK) +
	       ", ${0:k}\n\tmovb $$1, " + number(MARKS_BASE) + "($0)\n\t";
}

/* One test for up to ASM_SPANS_MAX spans of a stretch: more might not find registers. */
static constexpr size_t ASM_SPANS_MAX = 4;

static void markNarrow(Instruction *before, ArrayRef<Span> spans, bool polls)
{
	const DataLayout &layout = before->getModule()->getDataLayout();
	IRBuilder<> builder(before);
	SmallVector<Value *, 4> operands;
	std::string cold, constraints = "=&r,";

	if (any_of(spans, [](const Span &span) { return span.streamed; }))
		cold += "sfence\n\t";
	for (const Span &span : spans) {
		operands.push_back(builder.CreatePtrAdd(span.base, builder.getInt64((uint64_t)span.low)));
		constraints += "*m,";
		cold += markText(operands.size(), 0);
		if (!inOnePage(span, layout))
			cold += markText(operands.size(), span.high - span.low);
	}
	if (polls)
		cold += toSafepointIfAsked();
	else
		cold += "jmp 2b\n\t";
	CallInst *test =
	    emitTested(builder, polls ? testOf("cmpw", STOP_WORD) : testOf("cmpb", TRACK_WORD), cold,
		       builder.getInt64Ty(), operands, constraints);
	for (unsigned i = 0; i < operands.size(); i++)
		test->addParamAttr(
		    i, Attribute::get(builder.getContext(), Attribute::ElementType, builder.getInt8Ty()));
}

/* A test of the track word before the instruction; returns the end of the cold block. */
static Instruction *emitTrackTest(Instruction *before)
{
	IRBuilder<> builder(before);
	Value *word = builder.CreateIntToPtr(builder.getInt64(TRACK_WORD), builder.getPtrTy());
	LoadInst *track = builder.CreateLoad(builder.getInt8Ty(), word, true);

	return SplitBlockAndInsertIfThen(builder.CreateIsNotNull(track), before, false,
					 rarely(builder.getContext()));
}

static void markStretch(const Stretch &stretch)
{
	Instruction *before = stretch.last->getNextNode();
	SmallVector<Span, 4> narrow, wide;

	for (const Span &span : stretch.spans)
		(isWide(span) ? wide : narrow).push_back(span);
	if (!wide.empty()) {
		Instruction *cold = emitTrackTest(before);

		for (const Span &span : wide)
			markWide(span, cold);
	}
	for (ArrayRef<Span> rest = narrow; !rest.empty();) {
		ArrayRef<Span> now = rest.take_front(ASM_SPANS_MAX);

		rest = rest.drop_front(now.size());
		markNarrow(before, now, stretch.polls && rest.empty());
	}
	if (narrow.empty() && stretch.polls)
		emitPoll(before);
}

/* ---- loops ---- */

using PhiReader = function_ref<Value *(PHINode &)>;

/* Marks what the sweeps wrote since the loop began, or in the last LOOP_STRIP iterations if that is less. */
static void markSweeps(Instruction *before, const LoopPlan &plan, PhiReader now)
{
	auto atStart = [&](PHINode &phi) {
		IRBuilder<> at(before);

		return opaque(at, phi.getIncomingValueForBlock(plan.entry->getParent()));
	};

	Rebuilt fixed;

	for (const Sweep &sweep : plan.sweeps) {
		IRBuilder<> builder(before);
		Type *word = builder.getInt64Ty();

		if (sweep.streamed)
			fence(builder);
		Value *last = builder.CreatePtrToInt(rebuild(builder, sweep.address, plan.header, now, fixed), word);
		Value *first = last;

		if (sweep.step != 0) {
			first = builder.CreatePtrToInt(rebuild(builder, sweep.address, plan.header, atStart, fixed),
						       word);
			if (plan.poll == Poll::Counted)
				first = builder.CreateBinaryIntrinsic(
				    sweep.step > 0 ? Intrinsic::umax : Intrinsic::umin, first,
				    builder.CreateSub(last,
						      builder.getInt64((uint64_t)(sweep.step * (LOOP_STRIP - 1)))));
		}
		if (sweep.step < 0)
			std::swap(first, last);
		markBytes(before, builder.CreateAdd(first, builder.getInt64((uint64_t)sweep.low)),
			  builder.CreateAdd(last, builder.getInt64((uint64_t)sweep.high)));
	}
}

/* The phi's value in the iteration that ends here, from the next one's: to read the phi itself would keep two
 * registers alive through the loop. */
static Value *phiFromNext(IRBuilder<> &builder, PHINode &phi, BasicBlock *latch)
{
	Value *next = phi.getIncomingValueForBlock(latch);
	const DataLayout &layout = phi.getModule()->getDataLayout();

	if (auto *sum = dyn_cast<BinaryOperator>(next)) {
		auto *by = dyn_cast<ConstantInt>(sum->getOperand(1));

		if (sum->getOpcode() == Instruction::Add && sum->getOperand(0) == &phi && by)
			return builder.CreateSub(opaque(builder, sum), by);
	} else if (auto *address = dyn_cast<GetElementPtrInst>(next)) {
		APInt offset(64, 0);

		if (address->getPointerOperand() == &phi && address->accumulateConstantOffset(layout, offset))
			return builder.CreatePtrAdd(opaque(builder, address),
						    builder.getInt64((uint64_t)-offset.getSExtValue()));
	}
	return opaque(builder, &phi);
}

static void emitExits(const LoopPlan &plan)
{
	if (plan.sweeps.empty())
		return;
	BasicBlock *latch = plan.latches[0]->getParent();

	for (BasicBlock *exit : plan.exits) {
		/* only the latch leaves to this block: everything computed in the iteration is at hand */
		bool next = exit->getSinglePredecessor() == latch;
		Instruction *cold = emitTrackTest(&*exit->getFirstInsertionPt());

		markSweeps(cold, plan, [&](PHINode &phi) -> Value * {
			IRBuilder<> at(cold);

			return next ? phiFromNext(at, phi, latch) : opaque(at, &phi);
		});
	}
}

static PHINode *makeCounter(const LoopPlan &plan, Instruction *back)
{
	/* begin(), not the first instruction: notes of debuggers that stand before that would come before the PHI */
	IRBuilder<> builder(plan.header, plan.header->begin());
	PHINode *counter = builder.CreatePHI(builder.getInt32Ty(), 2);

	builder.SetInsertPoint(back);
	counter->addIncoming(builder.getInt32(0), plan.entry->getParent());
	counter->addIncoming(builder.CreateAdd(counter, builder.getInt32(1)), back->getParent());
	return counter;
}

/* May the test of the counter stand right behind where it is counted on? Nothing is pending at a poll. */
static bool isPollable(const Instruction &counted, const Instruction &back)
{
	if (counted.getParent() != back.getParent() || isa<PHINode>(counted))
		return false;
	for (const Instruction *at = counted.getNextNode(); at != &back; at = at->getNextNode())
		if (at->mayHaveSideEffects())
			return false;
	return true;
}

/* A poll whenever the counter has no bit of the mask. */
static void emitCountedPoll(Instruction *back, Value *counter, uint64_t mask)
{
	std::string test = "testl $$" + number(mask) + ", ${0:k}\n\tje";
	auto *counted = dyn_cast<Instruction>(counter);

	if (!counted || !isPollable(*counted, *back)) {
		IRBuilder<> builder(back);

		emitTested(builder, test, toSafepointIfAsked(), builder.getVoidTy(), {counter}, "r,");
		return;
	}
	/* The loop counts on with what the test hands back. Loop strength reduction, which does not look inside,
	 * would otherwise count once for the test and once for the loop. */
	IRBuilder<> builder(counted->getNextNode());
	Instruction *tested = emitTested(builder, test, toSafepointIfAsked(), counter->getType(), {counter}, "=r,0,");

	counter->replaceUsesWithIf(tested, [&](const Use &use) { return use.getUser() != tested; });
}

/* Every LOOP_STRIP iterations: marks of the strip, and a poll. */
static void emitStrips(const LoopPlan &plan, Instruction *back)
{
	PHINode *counter = plan.counter ? plan.counter : makeCounter(plan, back);
	IRBuilder<> builder(back);
	Value *next = counter->getIncomingValueForBlock(back->getParent());
	uint64_t mask = (uint64_t)(LOOP_STRIP - 1) << plan.counterShift;

	if (plan.sweeps.empty()) {
		emitCountedPoll(back, next, mask);
		return;
	}
	/* not between the parts of a condition: they are tested one by one, where they stand together */
	auto *branch = cast<BranchInst>(back);
	if (branch->isConditional() && !isa<CmpInst>(branch->getCondition()))
		back = SplitEdge(back->getParent(), plan.header)->getTerminator();
	builder.SetInsertPoint(back);
	if (next->getType()->isPointerTy())
		next = builder.CreatePtrToInt(next, builder.getInt64Ty());
	Value *bits = builder.CreateAnd(next, ConstantInt::get(next->getType(), mask));
	Instruction *cold = SplitBlockAndInsertIfThen(
	    builder.CreateIsNull(bits), back, false,
	    MDBuilder(builder.getContext()).createBranchWeights(1, LOOP_STRIP));

	BasicBlock *latch = counter->getIncomingBlock(counter->getIncomingBlock(0) == plan.entry->getParent());
	Instruction *tracking = emitTrackTest(cold);

	markSweeps(tracking, plan, [&](PHINode &phi) {
		IRBuilder<> at(tracking);

		return phiFromNext(at, phi, latch);
	});
	emitPoll(cold);
}

static void emitLoop(const LoopPlan &plan)
{
	emitExits(plan);
	if (plan.poll == Poll::Counted)
		emitStrips(plan, plan.latches[0]);
	if (plan.poll == Poll::Each)
		for (Instruction *latch : plan.latches)
			emitPoll(latch);
}

/* All of the entry block's variables must stay together at its start, before code. */
static void emitEntryPoll(Function &function)
{
	emitPoll(&*function.getEntryBlock().getFirstNonPHIOrDbgOrAlloca());
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
	return any_of(plan.stretches,
		      [](const Stretch &stretch) { return stretch.polls || any_of(stretch.spans, isWide); });
}

void emitPlan(Function &function, const Plan &plan)
{
	for (const Stretch &stretch : plan.stretches)
		markStretch(stretch);
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
