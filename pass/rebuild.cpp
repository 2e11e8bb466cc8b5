/* SPDX-License-Identifier: Apache-2.0 */
#include "pass/rebuild.h"

#include "llvm/IR/Instructions.h"
#include "llvm/IR/Operator.h"

using namespace llvm;

namespace optmig
{

static constexpr size_t STEPS_MAX = 8;

static bool isArithmetic(const Instruction &instruction)
{
	if (auto *binary = dyn_cast<BinaryOperator>(&instruction))
		return !binary->isIntDivRem() && !binary->getType()->isFPOrFPVectorTy();
	return isa<GetElementPtrInst>(instruction) || isa<CastInst>(instruction);
}

static bool addSteps(Value *value, const Loop &loop, Recipe &recipe)
{
	auto *instruction = dyn_cast<Instruction>(value);

	if (!instruction || !loop.contains(instruction))
		return true;
	if (auto *phi = dyn_cast<PHINode>(instruction))
		return phi->getParent() == loop.getHeader();
	if (is_contained(recipe.steps, instruction))
		return true;
	if (!isArithmetic(*instruction))
		return false;
	for (Value *operand : instruction->operands())
		if (!addSteps(operand, loop, recipe))
			return false;
	recipe.steps.push_back(instruction);
	return recipe.steps.size() <= STEPS_MAX;
}

bool makeRecipe(Value *value, const Loop &loop, Recipe &recipe)
{
	recipe.value = value;
	return addSteps(value, loop, recipe);
}

Value *rebuild(IRBuilder<> &builder, const Recipe &recipe, const BasicBlock *header,
	       function_ref<Value *(PHINode &)> read)
{
	SmallDenseMap<Value *, Value *, 8> made;

	auto translate = [&](Value *value) {
		auto *phi = dyn_cast<PHINode>(value);

		if (phi && phi->getParent() == header)
			return read(*phi);
		Value *known = made.lookup(value);
		return known ? known : value;
	};
	for (Instruction *step : recipe.steps) {
		Instruction *copy = step->clone();

		for (Use &operand : copy->operands())
			operand.set(translate(operand.get()));
		/* true in the loop, where the store was about to happen; here perhaps not */
		copy->dropPoisonGeneratingFlags();
		builder.Insert(copy);
		made[step] = copy;
	}
	return translate(recipe.value);
}

} // namespace optmig
