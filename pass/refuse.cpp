/* SPDX-License-Identifier: Apache-2.0 */
#include "pass/refuse.h"

#include "llvm/ADT/StringSet.h"
#include "llvm/IR/DiagnosticInfo.h"
#include "llvm/IR/InlineAsm.h"
#include "llvm/IR/InstIterator.h"
#include "llvm/IR/IntrinsicInst.h"
#include "llvm/IR/IntrinsicsX86.h"
#include "pass/writes.h"

using namespace llvm;

namespace optmig
{

#define REMEDY_MARK                                                                                          \
	"name what it writes as an output operand (\"=m\"), write it in C, or call __optmig_mark(pointer, "  \
	"size) of "                                                                                          \
	"<optmig.h> directly after it"

static void refuse(const Instruction &instruction, const Twine &message)
{
	const Function &function = *instruction.getFunction();

	function.getContext().diagnose(
	    DiagnosticInfoUnsupported(function, "optmig: " + message, instruction.getDebugLoc()));
}

/* Instructions of an assembly text, without prefixes and comments. */
static SmallVector<std::string, 8> asmStatements(StringRef text)
{
	SmallVector<StringRef, 8> lines;
	SmallVector<std::string, 8> statements;
	std::string copy = text.str();

	std::replace(copy.begin(), copy.end(), ';', '\n');
	std::replace(copy.begin(), copy.end(), '\t', ' ');
	StringRef(copy).split(lines, '\n', -1, false);
	for (StringRef line : lines) {
		line = line.trim();
		for (const char *prefix : {"lock", "repne", "repnz", "repe", "repz", "rep"})
			if (line.consume_front(prefix))
				line = line.ltrim();
		if (!line.empty() && !line.starts_with("#"))
			statements.push_back(line.str());
	}
	return statements;
}

static StringRef mnemonicOf(StringRef statement)
{
	return statement.take_until([](char c) { return c == ' '; });
}

/* Can this text write memory that no operand names? */
static bool asmTextHarmless(StringRef text)
{
	static const StringSet<> harmless = {
	    "nop",	  "pause",	"mfence",      "lfence",   "sfence", "hlt",	   "ud2",
	    "int3",	  "rdtsc",	"rdtscp",      "cpuid",	   "rdrand", "rdseed",	   "xgetbv",
	    "rdpid",	  "emms",	"cld",	       "fnclex",   "fninit", "vzeroupper", "vzeroall",
	    "serialize",  "endbr64",	"ldmxcsr",     "fldcw",	   "fwait",  "bswap",	   "prefetcht0",
	    "prefetcht1", "prefetcht2", "prefetchnta", "prefetchw"};

	for (StringRef statement : asmStatements(text)) {
		/* "lock; orl $0, (%rsp)": a fence that rewrites the top of the stack, which is always dirty
		 */
		bool stack = statement.ends_with("(%rsp)") || statement.ends_with("(%esp)");

		if (!stack && !harmless.contains(mnemonicOf(statement)))
			return false;
	}
	return true;
}

/* String instructions write where RDI points, whatever the operands say. (movsd with operands is SSE's.) */
static bool asmHasStringStore(StringRef text)
{
	static const StringSet<> names = {"stosb", "stosw", "stosl", "stosd", "stosq", "movsb", "movsw",
					  "movsl", "movsd", "movsq", "insb",  "insw",  "insl"};

	for (StringRef statement : asmStatements(text)) {
		StringRef mnemonic = mnemonicOf(statement);
		StringRef operands = statement.drop_front(mnemonic.size()).trim();

		if (names.contains(mnemonic) && (operands.empty() || operands.contains("di)")))
			return true;
	}
	return false;
}

/* With a "memory" clobber: may it write at an address that it makes itself, beside what it names? */
static bool asmHasAddress(StringRef text)
{
	for (StringRef statement : asmStatements(text))
		if (statement.contains('(') && !asmTextHarmless(statement))
			return true;
	return false;
}

/* The remedy for assembly: everything it may have written is marked by hand, with nothing in between. */
static bool isFollowedByMark(const Instruction &instruction)
{
	for (const Instruction *next = instruction.getNextNode(); next; next = next->getNextNode()) {
		auto *call = dyn_cast<CallBase>(next);

		if (!call || isa<IntrinsicInst>(call))
			continue;
		return call->getCalledFunction() && call->getCalledFunction()->getName() == "__optmig_mark";
	}
	return false;
}

static void checkAsm(const CallBase &call)
{
	auto *code = cast<InlineAsm>(call.getCalledOperand());
	StringRef text = code->getAsmString();
	const DataLayout &layout = call.getModule()->getDataLayout();
	bool clobbers = false, indirect = false, open = false;
	unsigned argument = 0;

	for (const InlineAsm::ConstraintInfo &constraint : code->ParseConstraints()) {
		clobbers |=
		    constraint.Type == InlineAsm::isClobber && is_contained(constraint.Codes, "{memory}");
		if (constraint.Type == InlineAsm::isOutput && constraint.isIndirect) {
			indirect = true;
			open |= layout.getTypeStoreSize(call.getParamElementType(argument)).isZero();
		}
		argument += constraint.hasArg();
	}
	if (isFollowedByMark(call))
		return;
	if (asmHasStringStore(text)) {
		refuse(
		    call,
		    "inline assembly with a string instruction (stos, movs): its writes cannot be tracked; "
		    "use memset or memcpy, or call __optmig_mark(pointer, size) of <optmig.h> directly after "
		    "it");
		return;
	}
	if (isa<CallBrInst>(call) && indirect)
		refuse(call, "asm goto with an output in memory cannot be tracked; use an output register");
	if (open)
		refuse(call, "inline assembly with an output in memory of no known size cannot be tracked; give it an "
			     "array of constant length, or call __optmig_mark(pointer, size) of <optmig.h> directly "
			     "after it");
	if (clobbers && (indirect ? asmHasAddress(text) : !asmTextHarmless(text)))
		refuse(call, "inline assembly that may write memory (\"memory\" clobber) cannot be "
			     "tracked; " REMEDY_MARK);
}

/* Writes nothing of the application's, although the IR allows it to. */
static bool intrinsicHarmless(const IntrinsicInst &call)
{
	if (isa<DbgInfoIntrinsic>(call) || isa<ConstrainedFPIntrinsic>(call) || call.isLifetimeStartOrEnd() ||
	    call.isAssumeLikeIntrinsic())
		return true;
	switch (call.getIntrinsicID()) {
	case Intrinsic::vaend:
	case Intrinsic::stacksave:
	case Intrinsic::stackrestore:
	case Intrinsic::prefetch:
	case Intrinsic::invariant_start:
	case Intrinsic::invariant_end:
	case Intrinsic::launder_invariant_group:
	case Intrinsic::trap:
	case Intrinsic::debugtrap:
	case Intrinsic::ubsantrap:
	case Intrinsic::readcyclecounter:
	case Intrinsic::clear_cache:
	case Intrinsic::set_rounding:
	case Intrinsic::x86_sse_sfence:
	case Intrinsic::x86_sse2_lfence:
	case Intrinsic::x86_sse2_mfence:
	case Intrinsic::x86_sse2_pause:
	case Intrinsic::x86_sse2_clflush:
	case Intrinsic::x86_clflushopt:
	case Intrinsic::x86_clwb:
	case Intrinsic::x86_cldemote:
	case Intrinsic::x86_sse_ldmxcsr:
	case Intrinsic::x86_fxrstor:
	case Intrinsic::x86_fxrstor64:
	case Intrinsic::x86_mmx_emms:
	case Intrinsic::x86_avx_vzeroupper:
	case Intrinsic::x86_avx_vzeroall:
	case Intrinsic::x86_rdtsc:
	case Intrinsic::x86_rdtscp:
	case Intrinsic::x86_rdrand_16:
	case Intrinsic::x86_rdrand_32:
	case Intrinsic::x86_rdrand_64:
	case Intrinsic::x86_rdseed_16:
	case Intrinsic::x86_rdseed_32:
	case Intrinsic::x86_rdseed_64:
	case Intrinsic::x86_xgetbv:
	case Intrinsic::x86_serialize:
		return true;
	default:
		return !call.mayWriteToMemory() || call.onlyAccessesInaccessibleMemory();
	}
}

/* Does it write through a pointer that is neither an ordinary one nor relative to GS or FS? */
static bool hasOddAddressSpace(Instruction &instruction)
{
	SmallVector<Write, 4> writes;

	writesOf(instruction, writes);
	return any_of(writes, [](const Write &write) {
		return write.pointer && write.pointer->getType()->getPointerAddressSpace() != 0;
	});
}

static void checkFunction(Function &function)
{
	if (function.hasFnAttribute(Attribute::Naked)) {
		function.getContext().diagnose(DiagnosticInfoUnsupported(
		    function, "optmig: a naked function is assembly that cannot be tracked; write it in C"));
		return;
	}
	for (Instruction &instruction : instructions(function)) {
		if (hasOddAddressSpace(instruction))
			refuse(instruction, "a store through a pointer of this address space cannot be tracked; use an "
					    "ordinary pointer");
		auto *call = dyn_cast<CallBase>(&instruction);

		if (!call)
			continue;
		if (call->isInlineAsm()) {
			checkAsm(*call);
		} else if (auto *intrinsic = dyn_cast<IntrinsicInst>(call)) {
			if (!isKnownWriter(*intrinsic) && !intrinsicHarmless(*intrinsic))
				refuse(*call,
				       "what " + intrinsic->getCalledFunction()->getName() +
					   " writes cannot be tracked; write it in plain C, or without this "
					   "intrinsic");
		}
	}
}

/* Directives that emit no code. */
static bool asmLineHarmless(StringRef line)
{
	line = line.trim();
	return line.empty() || line.starts_with("#") || line.starts_with("/*") || line.starts_with(".") ||
	       line.ends_with(":");
}

static void checkModuleAsm(Module &module)
{
	SmallVector<StringRef, 16> lines;
	std::string text = module.getModuleInlineAsm();

	std::replace(text.begin(), text.end(), ';', '\n');
	StringRef(text).split(lines, '\n', -1, false);
	for (StringRef line : lines) {
		if (asmLineHarmless(line))
			continue;
		module.getContext().emitError("optmig: " + module.getSourceFileName() +
					      ": assembly at file level (\"" + line.trim() +
					      "\") cannot be tracked; write it in C");
		return;
	}
}

void refuseUntrackable(Module &module)
{
	checkModuleAsm(module);
	for (const GlobalIFunc &ifunc : module.ifuncs())
		module.getContext().emitError(
		    "optmig: " + module.getSourceFileName() + ": ifunc " + ifunc.getName() +
		    " is resolved by relocations at run time, and an image has none left; "
		    "call through a pointer");
	for (Function &function : module)
		if (!function.isDeclaration())
			checkFunction(function);
}

} // namespace optmig
