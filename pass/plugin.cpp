/* SPDX-License-Identifier: Apache-2.0
 *
 * The pass: marks every page that a program writes and lets it stop at
 * safepoints. Runs last, on what the optimizer has left, so that it neither
 * hinders it nor marks what it removed.
 */
#include "llvm/Analysis/LoopInfo.h"
#include "llvm/Analysis/ScalarEvolution.h"
#include "llvm/IR/Dominators.h"
#include "llvm/IR/Module.h"
#include "llvm/IR/Verifier.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Passes/PassPlugin.h"
#include "llvm/Transforms/Utils/LoopSimplify.h"
#include "pass/emit.h"
#include "pass/plan.h"
#include "pass/refuse.h"
#include "pass/version.h"
#include "pass/writes.h"

using namespace llvm;

namespace
{

/* What optmig-ld looks for in every object. Not loaded, so it costs no page. */
void signObject(Module &module)
{
	module.appendModuleInlineAsm(".pushsection " PASS_NOTE_SECTION ",\"\",@progbits\n"
				     ".asciz \"" PASS_NOTE "\"\n"
				     ".popsection\n");
}

struct Track : PassInfoMixin<Track> {
	/* also at -O0 and for optnone functions */
	static bool isRequired()
	{
		return true;
	}

	PreservedAnalyses run(Module &module, ModuleAnalysisManager &moduleAnalyses)
	{
		auto &analyses =
		    moduleAnalyses.getResult<FunctionAnalysisManagerModuleProxy>(module).getManager();
		optmig::PollingFunctions polling;

		optmig::refuseUntrackable(module);
		optmig::separateLargeGlobals(module);
		for (Function &function : module)
			if (!function.isDeclaration() && !function.isInterposable() &&
			    optmig::pollsAtEntry(function))
				polling.insert(&function);
		for (Function &function : module) {
			if (function.isDeclaration() || function.hasFnAttribute(Attribute::Naked))
				continue;
			optmig::emitPlan(
			    function,
			    optmig::makePlan(function, analyses.getResult<LoopAnalysis>(function),
					     analyses.getResult<ScalarEvolutionAnalysis>(function),
					     analyses.getResult<DominatorTreeAnalysis>(function), polling));
			analyses.invalidate(function, PreservedAnalyses::none());
			if (verifyFunction(function, &errs()))
				report_fatal_error("optmig: the pass broke a function; please report this");
		}
		signObject(module);
		return PreservedAnalyses::none();
	}
};

} // namespace

extern "C" LLVM_ATTRIBUTE_WEAK PassPluginLibraryInfo llvmGetPassPluginInfo()
{
	return {LLVM_PLUGIN_API_VERSION, "optmig", "1", [](PassBuilder &builder) {
			builder.registerOptimizerLastEPCallback(
			    [](ModulePassManager &manager, OptimizationLevel) {
				    /* loops with one way in and exits of their own: what marks of loops need
				     */
				    manager.addPass(createModuleToFunctionPassAdaptor(LoopSimplifyPass()));
				    manager.addPass(Track());
			    });
		}};
}
