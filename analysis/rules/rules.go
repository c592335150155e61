// Package rules is the catalogue: one file per rule, one fixture per rule in
// testdata. A rule is a value that looks at what the evaluator found in one
// file and reports. conflict.go finds the operations whose operands differ,
// blame.go the mistake behind each, sign.go, sibling.go and geometry.go the
// evidence for it; fix.go builds the edits, words.go writes the sentences.
//
// The package does no I/O, keeps nothing between files, and reports nothing
// that rests on a name alone.
package rules

import (
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
)

// All returns the catalogue, sorted by name.
func All() []*analysis.Rule {
	all := []*analysis.Rule{
		anglesInHalf,
		arrayLeftWide,
		attentionBiasInFloat32,
		autocastDTypeGetter,
		autocastDeviceString,
		averageInHalf,
		batchCastWhole,
		batchItemWithoutCast,
		bf16ToNumPy,
		bceUnderAutocast,
		bfloat16AsFloat16,
		boolMaskAdded,
		cacheOfFirstDType,
		castLostInWhere,
		castWithoutEffect,
		clipBeforeUnscale,
		constantOutOfRange,
		constantRoundsToOne,
		copyWithoutDType,
		dtypeArgumentIgnored,
		dtypeComparedWithText,
		dtypeFromFinishedLoop,
		dtypeNotPassedOn,
		dtypeStoredAsNone,
		factoryUnlikeItsTwins,
		factoryWithoutDType,
		filledBufferWithoutDType,
		float32IntoKernel,
		float64OnMPS,
		floatAsDType,
		freshModuleOnInput,
		functionWithoutCustomFwd,
		halfInputWithoutAutocast,
		hardCodedHalf,
		idsThroughFloat,
		indexedWriteMixed,
		inputOfAnotherDType,
		integersDivided,
		kernelBufferOfFixedType,
		kernelOperandLeftOut,
		matmulMixedDType,
		moduleFollowsDevice,
		numpyFloat64Leak,
		positionsInHalf,
		precisionOverwritten,
		promisedCast,
		promotedOperand,
		receiveBufferOfAnother,
		scalerWithHalfParameters,
		siblingWithoutCast,
		toDTypeWithoutScale,
		twinWithoutUpcast,
		unsupportedOpForHalf,
		upcastOnOnePath,
	}
	slices.SortFunc(all, func(a, b *analysis.Rule) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// ByName returns the rule of a name, nil if there is none.
func ByName(name string) *analysis.Rule {
	for _, r := range All() {
		if r.Name == name {
			return r
		}
	}
	return nil
}
