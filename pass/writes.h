/* SPDX-License-Identifier: Apache-2.0
 *
 * Which memory an instruction writes, and which of it needs no mark because it
 * counts as dirty at every stop: the live stack, TLS, small globals.
 */
#ifndef PASS_WRITES_H
#define PASS_WRITES_H

#include "llvm/ADT/SmallVector.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/Module.h"

namespace optmig
{

struct Write {
	llvm::Value *pointer = nullptr;
	uint64_t size = 0; /* bytes from pointer */
	llvm::Align align = llvm::Align(1);
	bool streamed = false;		   /* non-temporal: needs SFENCE before its mark */
	llvm::CallBase *scatter = nullptr; /* instead of the above: a scatter; see scatterLanes() */
};

struct Lane {
	llvm::Value *pointer;
	llvm::Value *enabled; /* i1 */
	uint64_t size;
};

/* Appends what the instruction writes to memory that is tracked. What can write without being
 * understood here is refused beforehand (refuse.h). */
void writesOf(llvm::Instruction &instruction, llvm::SmallVectorImpl<Write> &writes);

/* Code that yields the addresses of a scatter. */
llvm::SmallVector<Lane, 16> scatterLanes(llvm::IRBuilder<> &builder, llvm::CallBase &scatter);

/* An intrinsic that writesOf() understands? */
bool isKnownWriter(const llvm::Instruction &instruction);

/* Does control reach code that may poll, or that may not come back here (longjmp)? */
bool isCall(const llvm::Instruction &instruction);

/* No mark may be pending when this instruction runs. */
bool isBarrier(const llvm::Instruction &instruction);

/* Gives globals of a page and more their own sections, apart from the always-dirty ones. */
void separateLargeGlobals(llvm::Module &module);

} // namespace optmig

#endif
