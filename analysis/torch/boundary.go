package torch

import "github.com/dtypebot/dtypebot/analysis/dtype"

// A BoundaryFact is what a function between the data and the model makes of one
// kind of value: a transform of torchvision, or the function that makes a batch of
// samples. Facts are shared: callers must not change them.
type BoundaryFact struct {
	Name   string
	Params []string // the first holds the value
	// Batch says that the value is a list of samples, which are alike.
	Batch bool
	// Arrays and Tensors say what comes out by dtype, Numbers by the category of
	// Python's numbers. What is missing is not known.
	Arrays, Tensors map[dtype.DType]Outcome
	Numbers         map[dtype.Category]Outcome
	// DType is the dtype that comes out of tensors where dtype= does not say
	// another one; None if it takes none.
	DType dtype.DType
}

// numeric are the dtypes that were measured.
var numeric = []dtype.DType{
	dtype.Bool, dtype.Uint8, dtype.Int8, dtype.Int16, dtype.Int32, dtype.Int64, dtype.Float16, dtype.BFloat16, dtype.Float32, dtype.Float64,
}

// boundaries are measured with torchvision 0.14.1 and PyTorch 1.13.1, by
// TestBoundaries; to_dtype, which is newer, is documented.
var boundaries = func() map[string]*BoundaryFact {
	own, images := each(Outcome{Own: true}), each(Outcome{Own: true})
	images[dtype.Uint8] = Outcome{Default: true} // divided by 255
	floats := each(Outcome{Refused: true})       // "Input tensor should be a float tensor"
	for _, d := range numeric {
		if d.Floating() {
			floats[d] = Outcome{Own: true}
		}
	}
	numbers := map[dtype.Category]Outcome{
		dtype.CatBool: {DType: dtype.Bool}, dtype.CatInt: {DType: dtype.Int64}, dtype.CatFloat: {DType: dtype.Float64},
	}
	const vision = "torchvision.transforms.functional."
	all := []*BoundaryFact{
		// Of a picture the mode decides, which no code shows: it is left out.
		{Name: vision + "to_tensor", Params: []string{"pic"}, Arrays: images},
		{Name: vision + "normalize", Params: []string{"tensor", "mean", "std", "inplace"}, Tensors: floats},
		{Name: vision + "convert_image_dtype", Params: []string{"image", "dtype"}, DType: dtype.Float32},
		// Source: pytorch.org/vision/0.16/generated/torchvision.transforms.v2.functional.to_dtype
		// (ToDtype calls it): dtype is torch.float32 unless another is given.
		{Name: "torchvision.transforms.v2.functional.to_dtype", Params: []string{"inpt", "dtype", "scale"}, DType: dtype.Float32},
	}
	for _, name := range []string{"resize", "crop", "center_crop", "resized_crop", "hflip", "vflip", "pad", "rgb_to_grayscale", "erase"} {
		all = append(all, &BoundaryFact{Name: vision + name, Params: []string{"img"}, Tensors: own})
	}
	for _, in := range []string{"torch.utils.data.", "torch.utils.data.dataloader.", "torch.utils.data._utils.collate."} {
		all = append(all, &BoundaryFact{Name: in + "default_collate", Params: []string{"batch"}, Batch: true, Arrays: own, Tensors: own, Numbers: numbers})
	}
	out := map[string]*BoundaryFact{}
	for _, f := range all {
		out[f.Name] = f
	}
	return out
}()

// each is one outcome for all measured dtypes.
func each(o Outcome) map[dtype.DType]Outcome {
	m := map[dtype.DType]Outcome{}
	for _, d := range numeric {
		m[d] = o
	}
	return m
}

// Boundary returns the fact of a function by canonical name.
func Boundary(name string) (*BoundaryFact, bool) {
	f, ok := boundaries[name]
	return f, ok
}
