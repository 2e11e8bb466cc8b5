/* SPDX-License-Identifier: Apache-2.0 */
#include "pass/rebuild.h"

#include "llvm/IR/InlineAsm.h"
#include "llvm/IR/Instructions.h"
#include "llvm/IR/Operator.h"

using namespace llvm;

namespace optmig
{

static constexpr size_t STEPS_MAX = 8;
static constexpr unsigned AROUND_STEPS_MAX = 3;

static bool isArithmetic(const Instruction &instruction)
{
	if (auto *binary = dyn_cast<BinaryOperator>(&instruction))
		return !binary->isIntDivRem() && !binary->getType()->isFPOrFPVectorTy();
	return isa<GetElementPtrInst>(instruction) || isa<CastInst>(instruction);
}

/* Outside the loop, but inside the one around it: calculated from what that one keeps at hand anyway? Done
 * again where it is needed, it takes no register in the loop. */
static bool isCheapAround(const Value *value, const Loop *around, unsigned depth)
{
	auto *instruction = dyn_cast<Instruction>(value);

	if (!instruction || !around->contains(instruction))
		return true;
	if (isa<PHINode>(instruction))
		return instruction->getParent() == around->getHeader();
	return depth > 0 && isArithmetic(*instruction) && all_of(instruction->operands(), [&](const Use &operand) {
		       return isCheapAround(operand.get(), around, depth - 1);
	       });
}

static bool addSteps(Value *value, const Loop &loop, Recipe &recipe)
{
	auto *instruction = dyn_cast<Instruction>(value);
	const Loop *around = loop.getParentLoop();

	if (!instruction)
		return true;
	if (!loop.contains(instruction) &&
	    (!around || !around->contains(instruction) || isa<PHINode>(instruction) ||
	     !isCheapAround(instruction, around, AROUND_STEPS_MAX)))
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

Value *opaque(IRBuilder<> &builder, Value *value)
{
	if (isa<Constant>(value) || (!value->getType()->isPointerTy() && !value->getType()->isIntegerTy()))
		return value;
	auto *type = FunctionType::get(value->getType(), {value->getType()}, false);

	return builder.CreateCall(type, InlineAsm::get(type, "", "=r,0", false), {value});
}

bool makeRecipe(Value *value, const Loop &loop, Recipe &recipe)
{
	recipe.value = value;
	return addSteps(value, loop, recipe);
}

Value *rebuild(IRBuilder<> &builder, const Recipe &recipe, const BasicBlock *header,
	       function_ref<Value *(PHINode &)> read, Rebuilt &fixed)
{
	Rebuilt moving;

	auto translate = [&](Value *value) -> Value * {
		if (isa<Constant>(value))
			return value;
		for (const Rebuilt *known : {&fixed, &moving})
			if (Value *made = known->lookup(value))
				return made;
		auto *phi = dyn_cast<PHINode>(value);

		if (phi && phi->getParent() == header)
			return moving[value] = read(*phi);
		return fixed[value] = opaque(builder, value);
	};
	for (Instruction *step : recipe.steps) {
		if (fixed.contains(step))
			continue;
		Instruction *copy = step->clone();

		for (Use &operand : copy->operands())
			operand.set(translate(operand.get()));
		/* true in the loop, where the store was about to happen; here perhaps not */
		copy->dropPoisonGeneratingFlags();
		builder.Insert(copy);
		bool moves = any_of(step->operands(),
				    [&](const Use &operand) { return moving.contains(operand.get()); });
		(moves ? moving : fixed)[step] = copy;
	}
	return translate(recipe.value);
}

} // namespace optmig
