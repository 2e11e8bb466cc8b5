/* SPDX-License-Identifier: Apache-2.0 */
#include "pass/writes.h"

#include "abi/layout.h"
#include "llvm/Analysis/ValueTracking.h"
#include "llvm/IR/InlineAsm.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/IntrinsicsX86.h"

using namespace llvm;

namespace optmig
{

/* A memory intrinsic of at most this size does not poll even if it becomes a call of libc. */
static constexpr uint64_t MEMORY_INTRINSIC_SIZE_MAX = PAGE_SIZE;
static constexpr uint64_t VA_LIST_SIZE = 24;
/* x86's numbers of address spaces; others are refused */
static constexpr unsigned SPACE_GS = 256, SPACE_FS = 257;
static constexpr uint64_t FXSAVE_SIZE = 512;

/* An array of unknown length at the end: the definition may be larger than the type says. */
static bool endsOpen(Type *type)
{
	if (auto *array = dyn_cast<ArrayType>(type))
		return array->getNumElements() == 0 || endsOpen(array->getElementType());
	if (auto *record = dyn_cast<StructType>(type))
		return record->isOpaque() || record->getNumElements() == 0 ||
		       endsOpen(record->elements().back());
	return false;
}

/* Must agree, for every file that sees the global, with where its definition is placed. */
static bool isSmall(const GlobalVariable &global)
{
	Type *type = global.getValueType();

	if (global.isThreadLocal())
		return true;
	if (!type->isSized() || global.hasSection() || global.isConstant())
		return false;
	if (global.isDeclaration() && endsOpen(type))
		return false;
	uint64_t size = global.getDataLayout().getTypeAllocSize(type);
	return size > 0 && size < PAGE_SIZE;
}

static bool isAlwaysDirty(const Value *object)
{
	if (isa<AllocaInst>(object))
		return true;
	if (auto *argument = dyn_cast<Argument>(object))
		return argument->hasByValAttr();
	if (auto *global = dyn_cast<GlobalVariable>(object))
		return isSmall(*global);
	if (auto *intrinsic = dyn_cast<IntrinsicInst>(object))
		return intrinsic->getIntrinsicID() == Intrinsic::threadlocal_address;
	return false;
}

static bool pointsToAlwaysDirty(const Value *pointer)
{
	SmallVector<const Value *, 4> objects;

	unsigned space = pointer->getType()->getPointerAddressSpace();

	if (space != 0)
		return space == SPACE_GS || space == SPACE_FS; /* TLS, or nothing of the application's */
	getUnderlyingObjects(pointer, objects, nullptr, 0);
	return !objects.empty() && all_of(objects, isAlwaysDirty);
}

/* x86 intrinsics that store through argument `pointer`. */
struct Store {
	Intrinsic::ID id;
	unsigned pointer;
	uint64_t size;
	bool streamed;
};

static const Store *findStore(Intrinsic::ID id)
{
	static const Store stores[] = {
	    {Intrinsic::vastart, 0, VA_LIST_SIZE, false},
	    {Intrinsic::vacopy, 0, VA_LIST_SIZE, false},
	    {Intrinsic::x86_avx_maskstore_pd, 0, 16, false},
	    {Intrinsic::x86_avx_maskstore_ps, 0, 16, false},
	    {Intrinsic::x86_avx_maskstore_pd_256, 0, 32, false},
	    {Intrinsic::x86_avx_maskstore_ps_256, 0, 32, false},
	    {Intrinsic::x86_avx2_maskstore_d, 0, 16, false},
	    {Intrinsic::x86_avx2_maskstore_q, 0, 16, false},
	    {Intrinsic::x86_avx2_maskstore_d_256, 0, 32, false},
	    {Intrinsic::x86_avx2_maskstore_q_256, 0, 32, false},
	    {Intrinsic::x86_sse2_maskmov_dqu, 2, 16, true},
	    {Intrinsic::x86_mmx_maskmovq, 2, 8, true},
	    {Intrinsic::x86_mmx_movnt_dq, 0, 8, true},
	    {Intrinsic::x86_sse_stmxcsr, 0, 4, false},
	    {Intrinsic::x86_fxsave, 0, FXSAVE_SIZE, false},
	    {Intrinsic::x86_fxsave64, 0, FXSAVE_SIZE, false},
	    {Intrinsic::x86_directstore32, 0, 4, true},
	    {Intrinsic::x86_directstore64, 0, 8, true},
	    {Intrinsic::x86_movdir64b, 0, 64, true},
	};

	for (const Store &store : stores)
		if (store.id == id)
			return &store;
	return nullptr;
}

static bool isScatter(const CallBase &call)
{
	const Function *callee = call.getCalledFunction();

	return call.getIntrinsicID() == Intrinsic::masked_scatter ||
	       (callee && (callee->getName().starts_with("llvm.x86.avx512.mask.scatter") ||
			   callee->getName().starts_with("llvm.x86.avx512.mask.scattersiv") ||
			   callee->getName().starts_with("llvm.x86.avx512.mask.scatterdiv")));
}

/* Truncating stores ("pmov.*.mem.*"): (pointer, value, mask), at most as wide as the value. */
static bool isTruncatingStore(const CallBase &call)
{
	const Function *callee = call.getCalledFunction();

	return callee && callee->getName().starts_with("llvm.x86.avx512.mask.pmov") &&
	       callee->getName().contains(".mem.");
}

static bool isLibcMemory(const Instruction &instruction)
{
	auto *memory = dyn_cast<AnyMemIntrinsic>(&instruction);

	if (!memory || isa<MemCpyInlineInst>(memory) || isa<MemSetInlineInst>(memory))
		return false;
	auto *length = dyn_cast<ConstantInt>(memory->getLength());
	return !length || length->getZExtValue() > MEMORY_INTRINSIC_SIZE_MAX;
}

bool isKnownWriter(const Instruction &instruction)
{
	auto *call = dyn_cast<IntrinsicInst>(&instruction);

	if (!call)
		return false;
	switch (call->getIntrinsicID()) {
	case Intrinsic::masked_store:
	case Intrinsic::masked_compressstore:
		return true;
	default:
		return isa<AnyMemIntrinsic>(call) || findStore(call->getIntrinsicID()) || isScatter(*call) ||
		       isTruncatingStore(*call);
	}
}

static void asmWrites(CallBase &call, const DataLayout &layout, SmallVectorImpl<Write> &writes)
{
	auto *code = cast<InlineAsm>(call.getCalledOperand());
	StringRef text = code->getAsmString();
	bool streamed = text.contains("movnt") || text.contains("maskmov") || text.contains("movdir");
	unsigned argument = 0;

	for (const InlineAsm::ConstraintInfo &constraint : code->ParseConstraints()) {
		if (!constraint.hasArg())
			continue;
		if (constraint.Type == InlineAsm::isOutput && constraint.isIndirect)
			writes.push_back({call.getArgOperand(argument),
					  layout.getTypeStoreSize(call.getParamElementType(argument)), Align(1), streamed});
		argument++;
	}
}

static void intrinsicWrites(IntrinsicInst &call, const DataLayout &layout, SmallVectorImpl<Write> &writes)
{
	Intrinsic::ID id = call.getIntrinsicID();

	if (id == Intrinsic::masked_store || id == Intrinsic::masked_compressstore)
		writes.push_back(
		    {call.getArgOperand(1), layout.getTypeStoreSize(call.getArgOperand(0)->getType())});
	else if (const Store *store = findStore(id))
		writes.push_back(
		    {call.getArgOperand(store->pointer), store->size, Align(1), store->streamed});
	else if (isTruncatingStore(call))
		writes.push_back(
		    {call.getArgOperand(0), layout.getTypeStoreSize(call.getArgOperand(1)->getType())});
	else if (isScatter(call))
		writes.push_back({nullptr, 0, Align(1), false, &call});
}

void writesOf(Instruction &instruction, SmallVectorImpl<Write> &writes)
{
	const DataLayout &layout = instruction.getModule()->getDataLayout();
	size_t before = writes.size();

	if (auto *store = dyn_cast<StoreInst>(&instruction)) {
		writes.push_back({store->getPointerOperand(),
				  layout.getTypeStoreSize(store->getValueOperand()->getType()),
				  store->getAlign(), store->hasMetadata(LLVMContext::MD_nontemporal)});
	} else if (auto *update = dyn_cast<AtomicRMWInst>(&instruction)) {
		writes.push_back({update->getPointerOperand(), layout.getTypeStoreSize(update->getType()),
				  update->getAlign()});
	} else if (auto *exchange = dyn_cast<AtomicCmpXchgInst>(&instruction)) {
		writes.push_back({exchange->getPointerOperand(),
				  layout.getTypeStoreSize(exchange->getNewValOperand()->getType()),
				  exchange->getAlign()});
	} else if (auto *memory = dyn_cast<AnyMemIntrinsic>(&instruction)) {
		if (!isLibcMemory(instruction))
			writes.push_back({memory->getRawDest(),
					  cast<ConstantInt>(memory->getLength())->getZExtValue(),
					  memory->getDestAlign().valueOrOne()});
	} else if (auto *intrinsic = dyn_cast<IntrinsicInst>(&instruction)) {
		intrinsicWrites(*intrinsic, layout, writes);
	} else if (auto *call = dyn_cast<CallBase>(&instruction)) {
		if (call->isInlineAsm())
			asmWrites(*call, layout, writes);
	}
	writes.erase(std::remove_if(writes.begin() + before, writes.end(),
				    [](const Write &write) {
					    return !write.scatter &&
						   (write.size == 0 || pointsToAlwaysDirty(write.pointer));
				    }),
		     writes.end());
}

SmallVector<Lane, 16> scatterLanes(IRBuilder<> &builder, CallBase &scatter)
{
	bool generic = scatter.getIntrinsicID() == Intrinsic::masked_scatter;
	const DataLayout &layout = scatter.getModule()->getDataLayout();
	/* generic: (values, pointers, align, mask); x86: (base, mask, indices, values, scale) */
	auto *values = cast<FixedVectorType>(scatter.getArgOperand(generic ? 0 : 3)->getType());
	Value *where = scatter.getArgOperand(generic ? 1 : 2);
	Value *mask = scatter.getArgOperand(generic ? 3 : 1);
	unsigned count =
	    std::min(values->getNumElements(), cast<FixedVectorType>(where->getType())->getNumElements());
	SmallVector<Lane, 16> lanes;

	if (auto *bits = dyn_cast<IntegerType>(mask->getType()))
		mask = builder.CreateBitCast(mask,
					     FixedVectorType::get(builder.getInt1Ty(), bits->getBitWidth()));
	for (unsigned i = 0; i < count; i++) {
		Value *pointer = builder.CreateExtractElement(where, i);

		if (!generic) {
			Value *index = builder.CreateSExt(pointer, builder.getInt64Ty());
			Value *scale = builder.CreateZExt(scatter.getArgOperand(4), builder.getInt64Ty());

			pointer =
			    builder.CreatePtrAdd(scatter.getArgOperand(0), builder.CreateMul(index, scale));
		}
		lanes.push_back({pointer, builder.CreateExtractElement(mask, i),
				 layout.getTypeStoreSize(values->getElementType())});
	}
	return lanes;
}

static bool hasFloat(Type *type)
{
	if (auto *record = dyn_cast<StructType>(type))
		return any_of(record->elements(), hasFloat);
	return type->isFPOrFPVectorTy();
}

/* The code generator makes calls of libm out of most intrinsics that compute with floating point, and libm polls. (The
 * compiler's own library, for 128 bits, does not.) */
static bool isLibcMath(const Instruction &instruction)
{
	auto *call = dyn_cast<IntrinsicInst>(&instruction);

	if (!call)
		return instruction.getOpcode() == Instruction::FRem;
	StringRef name = call->getCalledFunction()->getName();
	Type *scalar = call->getType()->getScalarType();

	if (isa<ConstrainedFPIntrinsic>(call))
		return true;
	if (name.starts_with("llvm.x86.") || name.starts_with("llvm.masked.") || name.starts_with("llvm.vector.") ||
	    name.starts_with("llvm.experimental.vector."))
		return false;
	switch (call->getIntrinsicID()) {
	case Intrinsic::fabs:
	case Intrinsic::copysign:
	case Intrinsic::arithmetic_fence:
	case Intrinsic::canonicalize:
		return false;
	case Intrinsic::sqrt:
	case Intrinsic::fmuladd:
	case Intrinsic::minnum:
	case Intrinsic::maxnum:
	case Intrinsic::minimum:
	case Intrinsic::maximum:
		return !scalar->isFloatTy() && !scalar->isDoubleTy();
	case Intrinsic::lround:
	case Intrinsic::llround:
	case Intrinsic::lrint:
	case Intrinsic::llrint:
	case Intrinsic::get_fpenv:
	case Intrinsic::set_fpenv:
	case Intrinsic::reset_fpenv:
	case Intrinsic::get_fpmode:
	case Intrinsic::set_fpmode:
	case Intrinsic::reset_fpmode:
		return true;
	default:
		return hasFloat(call->getType());
	}
}

bool isCall(const Instruction &instruction)
{
	auto *call = dyn_cast<CallBase>(&instruction);

	if (isLibcMath(instruction))
		return true;
	if (!call || call->isInlineAsm())
		return false;
	return !isa<IntrinsicInst>(call) || isLibcMemory(instruction);
}

bool isBarrier(const Instruction &instruction)
{
	if (auto *call = dyn_cast<CallBase>(&instruction))
		if (call->isInlineAsm())
			return !cast<InlineAsm>(call->getCalledOperand())->getAsmString().empty();
	return isCall(instruction) || instruction.isAtomic();
}

void separateLargeGlobals(Module &module)
{
	for (GlobalVariable &global : module.globals()) {
		if (global.isDeclaration() || global.isConstant() || global.isThreadLocal() ||
		    global.hasSection() || global.hasCommonLinkage() || isSmall(global))
			continue;
		if (module.getDataLayout().getTypeAllocSize(global.getValueType()) < PAGE_SIZE)
			continue;
		/* names that -fdata-sections makes of no global of C, and that say which need no room in the file */
		global.setSection((global.getInitializer()->isNullValue() ? ".bss..optmig." : ".data..optmig.") +
				  global.getName().str());
	}
}

} // namespace optmig
