package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/suggestions"
)

// castLike is the safe way to give several tensors one dtype.
var castLike = []string{
	"def cast_like(reference, *tensors):",
	`    """The tensors in the dtype of the reference; masks and ids stay as they are."""`,
	"    return tuple(t.to(reference.dtype) if t.is_floating_point() else t for t in tensors)",
}

// manyCasts is how many casts one function needs before they are worth a
// function of their own.
const manyCasts = 3

// advise writes the recommendations that fit what was found, each with its
// exceptions.
func (b *auditor) advise() {
	if b.has("factory-without-dtype", "indexed-write-mixed", "promoted-operand") {
		b.out.Advice = append(b.out.Advice, Advice{
			Title: "Give a new tensor the dtype of the tensor that it meets",
			Text:  "`dtype=x.dtype, device=x.device`, or `x.new_zeros(…)`, `torch.ones_like(x[..., :1])` where the shape is a slice of `x`.",
			Exceptions: []string{
				"Positions, ids and frequencies: count in int64 or float32 and cast the finished table. bfloat16 holds whole numbers only up to 256.",
				"Noise: draw it in float32 and cast, `torch.randn(…).to(x.dtype)`; drawn in another dtype, one seed gives other numbers.",
				"Loss weights, targets, and 0-dim sums of losses: leave them in float32. 1,000 times 1.0 added up in bfloat16 gives 256.",
				"`x` has to be floating-point: 0.5 becomes 0 in the dtype of ids.",
				"`torch.eye` has no bfloat16 in PyTorch 1.13: cast it after the call.",
			},
		})
	}
	if b.has("matmul-mixed-dtype") {
		b.out.Advice = append(b.out.Advice, Advice{
			Title: "Cast the other operand, not the activation",
			Text:  "`matrix.to(points.dtype)` keeps the dtype that the model runs in. Fixes that need each other are one fix here: made one by one, each moves the crash to the next line.",
			Exceptions: []string{
				"Projections that feed a loss: keep float32 through the division, with autocast off. A plain cast of the camera moves pixels by about one; casting back before the division keeps most of that error.",
				"Rotations of positions: in bfloat16 a point at 0.8 m is 2 mm off in the mean. Rotate in float32, cast offsets.",
				"Inside autocast these casts change nothing: the product is computed in half precision either way.",
				"Float64 users: `torch.promote_types(x.dtype, torch.float32)`, never `.float()`.",
			},
		})
	}
	if b.has("numpy-float64-leak") {
		b.out.Advice = append(b.out.Advice, Advice{
			Title:      "Give NumPy arrays a dtype",
			Text:       "NumPy makes float64 of lists, `linspace`, `eye` and divisions of integers, and `torch.from_numpy` keeps it: `dtype=np.float32` where the array is made.",
			Exceptions: []string{"Geometry that is computed in float64 on purpose: cast once, where it becomes a tensor."},
		})
	}
	b.adviseUnifier()
	if slices.ContainsFunc(b.out.Kinds, func(k Kind) bool { return k.Title == "Float32 from data sets" }) {
		b.out.Advice = append(b.out.Advice, Advice{
			Title: "Leave data sets in float32",
			Text:  "Cast where a batch is moved to the device, or where a value meets the model.",
			Code:  []string{"batch = {k: v.to(device, dtype=model_dtype) if v.is_floating_point() and k not in keep_float32 else v.to(device) for k, v in batch.items()}"},
			Exceptions: []string{
				"Cameras, poses, targets and loss weights stay float32.",
				"Ids and masks keep their dtype: 257 becomes 256 in bfloat16.",
			},
		})
	}
}

// adviseUnifier names the repository's function for several casts, or shows a
// safe one, where some function needs several.
func (b *auditor) adviseUnifier() {
	many := 0
	for _, n := range suggestions.Casts(b.in.comments()) {
		many = max(many, n)
	}
	if many < manyCasts {
		return
	}
	a := Advice{
		Title: "Several operands of one function",
		Text:  fmt.Sprintf("One function needs %d casts. A function with an explicit reference keeps the direction in sight:", many),
		Code:  castLike,
		Exceptions: []string{
			"Never cast to whatever comes first: a mask in front makes `[.7, .2]` into `[True, True]`.",
			"Masks and ids are left as they are.",
		},
	}
	if all := b.in.Report.Unifiers; len(all) > 0 {
		var names []string
		safe := false
		for _, u := range all {
			names = append(names, fmt.Sprintf("%s (%s)", suggestions.CodeSpan(u.Name), suggestions.CodeSpan(fmt.Sprintf("%s:%d", u.Path, u.Line))))
			safe = safe || u.Floating
		}
		a.Text = fmt.Sprintf("One function needs %d casts. This repository has %s: put the tensor first whose dtype shall hold.", many, strings.Join(names, ", "))
		if safe {
			a.Code = nil
		} else {
			a.Text += " It casts masks and ids as well; this one does not:"
		}
	}
	b.out.Advice = append(b.out.Advice, a)
}

// prioritise sorts what to do by priority.
func (b *auditor) prioritise() {
	for _, p := range []string{"HIGH", "MEDIUM", "LOW"} {
		t := Tier{Priority: p, Items: []string{}}
		for _, k := range b.out.Kinds {
			if k.Priority == p {
				t.Items = append(t.Items, k.Title+": "+todo(k)+".")
			}
		}
		if len(t.Items) > 0 {
			b.out.Priority = append(b.out.Priority, t)
		}
	}
}

// todo says what to do about a kind: its fixes, or where to look.
func todo(k Kind) string {
	var fixes, places []string
	seen := map[string]bool{}
	for _, e := range k.Entries {
		word := fmt.Sprintf("fix %d", e.Fix)
		if e.Fix == 0 {
			word = suggestions.CodeSpan(fmt.Sprintf("%s:%d", e.Path, e.First))
		}
		if seen[word] {
			continue
		}
		seen[word] = true
		if e.Fix > 0 {
			fixes = append(fixes, word)
		} else {
			places = append(places, word)
		}
	}
	const few = 6
	if n := len(places); n > few {
		places = append(places[:few], fmt.Sprintf("%d more", n-few))
	}
	return strings.Join(append(fixes, places...), ", ")
}
