package torch

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/dtype"
)

// A FactoryClass says where a new tensor's dtype comes from when the call has
// no dtype=.
type FactoryClass uint8

// The classes.
const (
	FactoryDefault  FactoryClass = iota // torch.get_default_dtype()
	FactoryFixed                        // always FactoryFact.DType (randint, FloatTensor)
	FactoryReceiver                     // that of the first argument (zeros_like) or the receiver (new_zeros)
	FactoryNumbers                      // by the kinds of Python numbers (full, arange)
	FactoryData                         // by the data: numbers by kind, arrays and tensors by dtype (tensor)
)

// An Outcome is the dtype that one kind of value gives.
type Outcome struct {
	Refused bool        // the call raises
	Own     bool        // the value's own dtype (arrays, tensors)
	Default bool        // the default dtype, or its complex one where the value is complex
	DType   dtype.DType // this one, if none of the above
}

// A FactoryFact is what a function that makes tensors does about dtypes. Facts
// are shared: callers must not change them.
type FactoryFact struct {
	Name  string // "torch.zeros", "torch.Tensor.new_zeros"
	Class FactoryClass
	DType dtype.DType // of FactoryFixed
	// Values are the positions of the arguments that hold values: of
	// FactoryNumbers and FactoryData the ones that decide, of the others (the
	// fill of full_like, the data of new_tensor and FloatTensor) the ones whose
	// values are converted to the result's dtype. The receiver is position 0.
	Values []int
	// Numbers says for FactoryNumbers and FactoryData what Python's bool, int,
	// float and complex give; the highest category among several decides.
	Numbers map[dtype.Category]Outcome
	// Arrays and Tensors say for FactoryData what a NumPy array and a tensor
	// give. A list of NumPy scalars or tensors counts as its elements' dtype, a
	// list that holds a Python float too as float64 ones or the default.
	Arrays, Tensors Outcome
	// Accepts are the values of dtype= that have a CPU kernel in the measured
	// version, in all of them for [All], with dtype= on the function itself; nil if it takes none.
	Accepts []dtype.DType
	Version string
	Note    string // what other versions do, with its source
}

// TakesDType reports whether the function has dtype=.
func (f *FactoryFact) TakesDType() bool { return len(f.Accepts) > 0 }

// AcceptsDType reports whether dtype=d works on the CPU of the measured
// version (torch.eye has no bfloat16 kernel there).
func (f *FactoryFact) AcceptsDType(d dtype.DType) bool { return slices.Contains(f.Accepts, d) }

// Factory returns the facts of a function that makes tensors, by canonical
// name.
func (t *Table) Factory(name string) (*FactoryFact, bool) {
	f, ok := t.factories[name]
	return f, ok
}

var numberKinds = map[string]dtype.Category{"b": dtype.CatBool, "i": dtype.CatInt, "f": dtype.CatFloat, "c": dtype.CatComplex}

func (t *Table) readFactories() error {
	t.factories = map[string]*FactoryFact{}
	for _, line := range t.sections["factories"] {
		f, err := t.factory(line)
		if err != nil {
			return fmt.Errorf("factory %q: %w", line, err)
		}
		t.factories[f.Name] = f
	}
	return nil
}

// factory decodes "name class kinds positions dtypes".
func (t *Table) factory(line string) (*FactoryFact, error) {
	w := strings.Split(line, " ")
	if len(w) != 5 {
		return nil, fmt.Errorf("%d fields", len(w))
	}
	f := &FactoryFact{Name: w[0], Version: t.release}
	switch w[1][0] {
	case 'd':
		f.Class = FactoryDefault
	case 'r':
		f.Class = FactoryReceiver
	case 'v':
		f.Class = FactoryNumbers
	case 't':
		f.Class = FactoryData
	case '=':
		f.Class, f.DType = FactoryFixed, codes[w[1][1:]]
	default:
		return nil, fmt.Errorf("class %q", w[1])
	}
	if w[2] != "-" {
		f.Numbers = map[dtype.Category]Outcome{}
		arrays, tensors := []Outcome{}, []Outcome{}
		for cell := range strings.SplitSeq(w[2], ",") {
			k, v, _ := strings.Cut(cell, "=")
			o := outcome(v)
			switch c, number := numberKinds[k]; {
			case number:
				f.Numbers[c] = o
			case k[0] == 'n':
				arrays = append(arrays, o)
			default:
				tensors = append(tensors, o)
			}
		}
		f.Arrays, f.Tensors = agree(arrays), agree(tensors)
	}
	for _, s := range list(w[3]) {
		i, err := strconv.Atoi(s)
		if err != nil {
			return nil, err
		}
		f.Values = append(f.Values, i)
	}
	if w[4] != "-" {
		var err error
		if f.Accepts, err = dtypes(w[4], ","); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func outcome(s string) Outcome {
	switch s {
	case "?":
		return Outcome{Refused: true}
	case "s":
		return Outcome{Own: true}
	case "d", "x":
		return Outcome{Default: true}
	}
	return Outcome{DType: codes[s]}
}

// agree is the outcome of all samples that are not refused (nn.Parameter
// refuses integers), refused if they differ.
func agree(os []Outcome) Outcome {
	os = slices.DeleteFunc(os, func(o Outcome) bool { return o.Refused })
	for _, o := range os {
		if o != os[0] {
			return Outcome{Refused: true}
		}
	}
	if len(os) == 0 {
		return Outcome{Refused: true}
	}
	return os[0]
}
