/* SPDX-License-Identifier: Apache-2.0 */
#include "llvm/IR/Module.h"
#include "llvm/Passes/PassBuilder.h"
#include "llvm/Passes/PassPlugin.h"

using namespace llvm;

namespace
{
struct Track : PassInfoMixin<Track> {
	static bool isRequired()
	{
		return true;
	}
	PreservedAnalyses run(Module &module, ModuleAnalysisManager &)
	{
		module.appendModuleInlineAsm(".section .note.optmig.obj,\"\",@progbits\n"
					     ".asciz \"optmig-pass 1\"\n"
					     ".text\n");
		return PreservedAnalyses::none();
	}
};
} // namespace

extern "C" LLVM_ATTRIBUTE_WEAK PassPluginLibraryInfo llvmGetPassPluginInfo()
{
	return {LLVM_PLUGIN_API_VERSION, "optmig", "1", [](PassBuilder &builder) {
			builder.registerOptimizerLastEPCallback(
			    [](ModulePassManager &manager, OptimizationLevel) { manager.addPass(Track()); });
		}};
}
