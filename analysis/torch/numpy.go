package torch

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
)

// A NumPyClass says where the dtype of a NumPy function's result comes from
// when the call has no dtype=.
type NumPyClass uint8

// The classes.
const (
	NumPyUnknown NumPyClass = iota // depends on more than dtypes
	// Float64Default is float64 whatever the arguments: zeros, linspace,
	// random.rand, interp.
	Float64Default
	// FromData follows the data: Python's bool, int, float and complex give
	// bool, int64, float64 and complex128 (arange takes a bool as an int);
	// arrays and NumPy scalars keep their dtype; a list of several gives
	// their np.result_type, where Python floats count as float64.
	FromData
	// Keep follows the first array argument if that is floating; NumPyFact.Same
	// tells what other dtypes give.
	Keep
	// PromoteArrays is the Same of np.result_type of the array arguments. A
	// Python number or list among them counts: a list as a float64 or int64
	// array, a number as NumPyScalar says.
	PromoteArrays
	// PromoteFloats is PromoteArrays for floating arrays; with integers the
	// result is not always the Same of their result_type.
	PromoteFloats
	// BySame is the Same of the first array argument's dtype.
	BySame
	// Int is int64 whatever the arguments.
	Int
	// Constant is NumPyFact.DType whatever the arguments: float32(x), isnan.
	Constant
)

// A NumPyFact is what a NumPy function does to dtypes. Facts are shared:
// callers must not change them.
type NumPyFact struct {
	Name  string // "numpy.zeros", "numpy.random.rand", "numpy.ndarray.mean"
	Class NumPyClass
	DType dtype.DType // of Constant, Float64Default and Int
	// Same maps the dtype of all array arguments to the results' dtypes; None
	// stands for what is no array. What NumPy refuses is missing.
	Same map[dtype.DType][]dtype.DType
	// Params are the positional parameters, the receiver first for methods.
	Params []string
	// Arrays are the positions of the array arguments; List says that the first
	// of them is a sequence of arrays (concatenate).
	Arrays []int
	List   bool
	// TakesDType says that dtype= sets the result's dtype.
	TakesDType bool
	Version    string // of NumPy
}

// NumPy returns the facts of a NumPy function or of a method of
// numpy.ndarray or numpy.random.Generator, by canonical name.
func (t *Table) NumPy(name string) (*NumPyFact, bool) {
	f, ok := t.arrays[name]
	return f, ok
}

// NumPyResult is np.result_type of two arrays. None where NumPy has no such
// dtype (bfloat16) or the result is none of PyTorch's dtypes. NumPy's rules
// differ from PyTorch's: int32 with float32 is float64.
//
// Source: numpy.result_type, every cell of which a test asks NumPy for; 1.24 and
// 2.5 have the same.
func NumPyResult(a, b dtype.DType) dtype.DType {
	t := All()
	return t.numpyResult[[2]dtype.DType{a, b}]
}

// NumPyScalar is the dtype of an arithmetic operation between an array (with at
// least one dimension) and a number: a Python bool, int, float or complex as
// Bool, Int64, Float64 or Complex128 with python set, else a NumPy scalar or
// 0-dim array.
//
// The array's dtype holds if the scalar's category is not higher, as long as an
// int fits. That is so for Python numbers in every version, for NumPy scalars
// in versions before 2; from 2 on (NEP 50, numpy.org/neps/nep-0050) a NumPy
// scalar counts as an array: ask NumPyResult then.
func NumPyScalar(array, scalar dtype.DType, python bool) dtype.DType {
	if array == dtype.None || scalar == dtype.None || array == dtype.BFloat16 || scalar == dtype.BFloat16 {
		return dtype.None
	}
	if scalar.Category() <= array.Category() {
		return array
	}
	if scalar.Category() == dtype.CatComplex && (array == dtype.Float16 || array == dtype.Float32) {
		return dtype.Complex64
	}
	return NumPyResult(array, scalar)
}

func (t *Table) readNumPy() error {
	var order []dtype.DType
	for _, line := range t.sections["numpy_dtypes"] {
		var err error
		if order, err = dtypes(line, ","); err != nil {
			return err
		}
	}
	t.numpyResult = map[[2]dtype.DType]dtype.DType{}
	for _, line := range t.sections["numpy_result_type"] {
		name, cells, _ := strings.Cut(line, " ")
		for i, cell := range strings.Split(cells, ",") {
			if i < len(order) && cell != "?" {
				t.numpyResult[[2]dtype.DType{codes[name], order[i]}] = codes[cell]
			}
		}
	}
	t.arrays = map[string]*NumPyFact{}
	for _, line := range t.sections["numpy"] {
		if err := t.numpyLine(line, order); err != nil {
			return fmt.Errorf("numpy %q: %w", line, err)
		}
	}
	return nil
}

// numpyLine decodes "names class takes arrays results params".
func (t *Table) numpyLine(line string, order []dtype.DType) error {
	w := strings.Split(line, " ")
	if len(w) != 6 {
		return fmt.Errorf("%d fields", len(w))
	}
	f := NumPyFact{TakesDType: w[2] == "t", Params: list(w[5]), Version: t.numpy, Same: map[dtype.DType][]dtype.DType{}}
	for i, cell := range strings.Split(w[4], ",") {
		if cell == "?" || i >= len(order) {
			continue
		}
		outs, err := dtypes(cell, "|")
		if err != nil {
			return err
		}
		f.Same[order[i]] = outs
	}
	switch w[1][0] {
	case '?':
		f.Class = NumPyUnknown
	case 'k':
		f.Class = Keep
	case 'p':
		f.Class = PromoteArrays
	case 'f':
		f.Class = PromoteFloats
	case 'u':
		f.Class = BySame
	case 't':
		f.Class = FromData
	case '=':
		outs, err := dtypes(w[1][1:], "|")
		if err != nil {
			return err
		}
		f.DType = outs[0]
		switch {
		case len(outs) > 1:
			f.Class = BySame
		case f.DType == dtype.Float64:
			f.Class = Float64Default
		case f.DType == dtype.Int64:
			f.Class = Int
		default:
			f.Class = Constant
		}
	default:
		return fmt.Errorf("class %q", w[1])
	}
	for _, s := range list(w[3]) {
		n, sequence := strings.CutSuffix(s, "*")
		i, err := strconv.Atoi(n)
		if err != nil {
			return err
		}
		f.Arrays = append(f.Arrays, i)
		f.List = f.List || sequence
	}
	for name := range strings.SplitSeq(w[0], ",") {
		g := f
		g.Name = "numpy." + name
		t.arrays[g.Name] = &g
	}
	return nil
}
