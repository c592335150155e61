package interp_test

import (
	"fmt"
	"math/rand"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis/torch"
)

// A template is one way of calling an op on tensors of given shapes.
type template struct {
	op     string   // canonical name
	code   string   // with $0, $1, … for the operands
	shapes []string // of the operands: "4,4", "4", ""
	out    []string // shapes of the results, in float32
	tuple  bool
}

// values are the arguments to try for a parameter that is no floating tensor.
var values = map[string][]string{
	"dim": {"0", "-1"}, "dim0": {"0"}, "dim1": {"1"}, "dim2": {"1"}, "dims": {"(0,)", "0"}, "axis0": {"0"}, "axis1": {"1"}, "p": {"2", "0.5"}, "size": {"(4, 4)", "4"},
	"shape": {"(16,)", "(2, 2)"}, "n": {"2"}, "index": {"torch.tensor([0, 2, 1, 3])", "torch.zeros(4, 4, dtype=torch.int64)", "1"},
	"indices": {"torch.tensor([0, 2, 1, 3])", "(torch.tensor([0, 2, 1, 3]),)", "torch.zeros(4, 4, dtype=torch.int64)"},
	"mask":    {"torch.eye(4, dtype=torch.bool)", "torch.tensor([True, False, True, False])"}, "k": {"2", "1"}, "diagonal": {"0", "1"}, "offset": {"0"}, "keepdim": {"True"},
	"kernel_size": {"2"}, "stride": {"1"}, "padding": {"1", "(1, 1)"}, "output_size": {"2", "(2, 2)"}, "sections": {"2"}, "chunks": {"2"}, "split_size": {"2"},
	"split_size_or_sections": {"2"}, "indices_or_sections": {"2"}, "repeats": {"2", "(2, 2)"}, "shifts": {"1"}, "start": {"0"}, "length": {"2"}, "end": {"2"}, "step": {"1"},
	"value": {"1.5", "2"}, "fill_value": {"1.5", "2", "True"}, "min": {"0.5", "0"}, "max": {"2.5", "2"}, "exponent": {"2", "0.5"}, "eps": {"1e-5"}, "normalized_shape": {"(4,)"},
	"num_groups": {"1"}, "num_samples": {"2"}, "q": {"0.5"}, "bins": {"4"}, "decimals": {"1"}, "diag": {"0"}, "lambd": {"0.5"}, "negative_slope": {"0.1"}, "reduction": {"'mean'", "'none'"},
	"upper": {"True"}, "descending": {"True"}, "training": {"False"}, "train": {"False"}, "ord": {"2"}, "maxnorm": {"1.0"}, "scale_factor": {"2"}, "pad": {"(1, 1)"}, "target_size": {"(4, 4)"}, "source": {"0"},
	"destination": {"1"}, "threshold": {"0.5"}, "num_classes": {"4"}, "dim_": {"0"}, "groups": {"2", "1"}, "upscale_factor": {"2"}, "downscale_factor": {"2"}, "nan": {"0.0"}, "r": {"2"}, "N": {"4"}, "sizes": {"(2, 2)"},
	"reduce": {"'sum'", "'amax'"}, "src": {"1.0"}, "other": {"2", "1.5"}, "weight": {"0.5"}, "condition": {"torch.eye(4, dtype=torch.bool)"}, "sorted": {"True"}, "unbiased": {"True"}, "axis": {"0"}, "beta": {"1"},
	"lower": {"0.1"}, "accumulate": {"False"}, "mode": {"'reduced'"}, "ceil_mode": {"False"}, "sorter": {"None"}, "equation": {"'ij,jk->ik'", "'ij->ji'", "'ij,ij->ij'"}, "delta": {"1.0"}, "margin": {"1.0"}, "k_": {"0"},
}

// skipped are ops that run but tell nothing or change more than their operands.
func skipped(name string) bool {
	base := name[strings.LastIndexByte(name, '.')+1:]
	for _, w := range []string{"set_", "resize", "requires_grad", "storage", "cuda", "quantize", "sparse", "_nnz", "hook", "backward", "empty", "is_shared", "share_memory", "data_ptr", "dequant", "ccol", "crow", "coalesce", "fake_", "vulkan", "mkldnn", "dlpack", "align_", "names", "rename", "refine", "retain", "record_stream", "deepcopy", "reduce_ex", "__reduce", "__array", "__dir", "__hash", "__len", "__repr", "__set", "__get", "__format", "__iter", "__cont", "__complex", "__index", "__bool", "__float", "__int", "__long", "__nonzero", "pin_memory", "symeig", "eig", "lstsq", "geqrf", "ormqr", "orgqr", "lobpcg", "stft", "istft", "view_as_real", "map_", "map2_", "apply_", "from_file", "frombuffer", "get_device", "imag", "triplet_margin_with"} {
		if strings.Contains(base, w) {
			return true
		}
	}
	return strings.HasPrefix(base, "__")
}

// candidates are calls of an op that may work.
func candidates(facts *torch.Table, name string) []template {
	op, _ := facts.Lookup(name)
	if skipped(name) {
		return nil
	}
	params := op.Params
	var at []int
	list := map[int]bool{}
	for _, o := range op.Operands {
		if o.Index >= 0 && !o.Variadic {
			at = append(at, o.Index)
			list[o.Index] = o.List
		}
	}
	if len(at) == 0 {
		return nil
	}
	if len(params) == 0 {
		params = []string{"self"}
	}
	method := strings.HasPrefix(name, "torch.Tensor.")
	last := slices.Max(at)
	if last >= len(params) {
		return nil
	}
	var out []template
	// calls: how many of the operands are tensors, how many parameters more.
	for _, upTo := range []int{last, slices.Min(at)} {
		for extra := 0; extra <= 3 && upTo+extra < len(params); extra++ {
			choices := [][]string{{}}
			operands := 0
			ok := true
			for i := 0; i <= upTo+extra && ok; i++ {
				p := params[i]
				var opts []string
				switch {
				case slices.Contains(at, i) && i <= upTo:
					opts = []string{fmt.Sprintf("$%d", operands)}
					if list[i] {
						opts = []string{fmt.Sprintf("[$%d, $%d]", operands, operands+1)}
						operands++
					}
					operands++
				default:
					opts = values[p]
					if len(opts) == 0 {
						ok = false
					}
				}
				var next [][]string
				for _, c := range choices {
					for _, o := range opts {
						next = append(next, append(slices.Clone(c), o))
					}
				}
				choices = next
			}
			if !ok || len(choices) > 40 {
				continue
			}
			for _, c := range choices {
				code := ""
				if method {
					code = fmt.Sprintf("%s.%s(%s)", c[0], name[len("torch.Tensor."):], strings.Join(c[1:], ", "))
				} else {
					fn := strings.Replace(name, "torch.nn.functional.", "F.", 1)
					code = fmt.Sprintf("%s(%s)", fn, strings.Join(c, ", "))
				}
				for _, shapes := range shapesFor(operands) {
					out = append(out, template{op: name, code: code, shapes: shapes})
				}
			}
			if upTo == slices.Min(at) && upTo == last && extra == 3 {
				break
			}
		}
	}
	return out
}

func shapesFor(n int) [][]string {
	rep := func(s string) []string {
		out := make([]string, n)
		for i := range out {
			out[i] = s
		}
		return out
	}
	out := [][]string{rep("4,4"), rep("4"), rep(""), rep("2,4,4")}
	if n > 1 {
		mixed := rep("4")
		mixed[0] = "4,4"
		out = append(out, mixed)
		zero := rep("")
		zero[0] = "4,4"
		out = append(out, zero)
	}
	if n == 3 {
		out = append(out, []string{"4", "4,4", "4"})
	}
	if n == 1 || n == 2 {
		out = append(out, append([]string{"2,4,4,4"}, rep("2,4,4,4")[1:]...))
	}
	return out
}

// A line is one line of a program, for the evaluator and for the oracle.
type line struct{ text, oracle string }

type variable struct {
	name, shape string
	number      bool
	dtype       string // roughly: of the first operand
}

// A generator makes one program.
type generator struct {
	*rand.Rand
	templates [][]template // by op
	lines     []line
	vars      []variable
	n         int
	conds     int
	ops       []string
	tags      map[string]bool
	inside    string // indentation
	last      string // dtype of the tensor that was used or made last, roughly
	want      string // dtype to make and to use, if it is set
}

var dtypes = []string{"float32", "float32", "float32", "float64", "float64", "bfloat16", "bfloat16", "bfloat16", "float16", "int64", "int64", "bool", "int32", "uint8"}

func (g *generator) dtype() string {
	if g.want != "" {
		return g.want
	}
	d := dtypes[g.Intn(len(dtypes))]
	if (d == "float16" || d == "bool" || d == "uint8" || d == "int32") && g.Intn(3) > 0 {
		return g.pick("float32", "float64")
	}
	return d
}

func (g *generator) name() string {
	g.n++
	return fmt.Sprintf("v%d", g.n)
}

// emit adds a simple statement and traces the names that it assigns.
func (g *generator) emit(text string, traced ...string) {
	n := len(g.lines) + 1
	oracle := g.inside + text
	for _, t := range traced {
		oracle += fmt.Sprintf("; T(%d, %q, %s)", n, t, t)
	}
	g.lines = append(g.lines, line{g.inside + text, oracle})
}

// plain adds a line without a trace: a head of a block.
func (g *generator) plain(text string) {
	g.lines = append(g.lines, line{g.inside + text, g.inside + text})
}

func size(shape string) string {
	if shape == "" {
		return "()"
	}
	return strings.ReplaceAll(shape, ",", ", ")
}

// factory makes a tensor of a shape.
func (g *generator) factory(shape string) string {
	name := g.name()
	d := g.dtype()
	g.last = d
	s := size(shape)
	arg := ", dtype=torch." + d
	if d == "float32" && g.Intn(2) == 0 {
		arg = ""
	}
	var text string
	floating := strings.Contains(d, "float")
	switch k := g.Intn(10); {
	case k < 2 && floating:
		text = fmt.Sprintf("torch.randn(%s%s)", s, arg)
	case k == 2 && shape == "4,4" && d != "bfloat16":
		text = fmt.Sprintf("torch.eye(4%s)", arg)
	case k == 3 && shape == "4" && d != "bool":
		text = fmt.Sprintf("torch.arange(4%s)", arg)
	case k == 4 && shape == "4":
		text = fmt.Sprintf("torch.tensor(%s%s)", g.pick("[1, 2, 3, 4]", "[1.0, 2, 3, 4]", "[True, False, True, True]", "[0.5, 1.5, 2.5, 3.5]", "[1, 0, True, False]"), g.pick(arg, ""))
	case k == 4 && shape == "":
		text = fmt.Sprintf("torch.tensor(%s%s)", g.pick("1", "2.5", "True", "3"), g.pick(arg, ""))
	case k == 4 && shape == "4,4":
		text = fmt.Sprintf("torch.tensor([[1, 2, 3, 4]] * 4%s)", arg)
	case k == 5 && shape != "":
		text = fmt.Sprintf("torch.full((%s,), %s%s)", s, g.pick("1", "2.5", "True"), g.pick(arg, ""))
	case k == 6 && shape == "4":
		text = fmt.Sprintf("torch.linspace(0, 1, 4%s)", g.pick("", ", dtype=torch.float64"))
	case k == 7 && shape != "":
		text = fmt.Sprintf("torch.randint(0, 4, (%s,))", s)
	case k == 8 && len(g.vars) > 0:
		v := g.of(shape)
		if v == "" {
			text = fmt.Sprintf("torch.ones(%s%s)", s, arg)
			break
		}
		text = g.pick(fmt.Sprintf("torch.zeros_like(%s)", v), fmt.Sprintf("torch.ones_like(%s, dtype=torch.%s)", v, d), fmt.Sprintf("%s.new_zeros((%s))", v, s), fmt.Sprintf("torch.full_like(%s, 2)", v))
	default:
		text = fmt.Sprintf("torch.ones(%s%s)", s, arg)
	}
	g.emit(name+" = "+text, name)
	g.vars = append(g.vars, variable{name, shape, false, g.last})
	return name
}

func (g *generator) pick(xs ...string) string { return xs[g.Intn(len(xs))] }

// of returns a variable of a shape, "" if there is none.
func (g *generator) of(shape string) string {
	var fits []variable
	for _, v := range g.vars {
		if !v.number && v.shape == shape && (g.want == "" || v.dtype == g.want) {
			fits = append(fits, v)
		}
	}
	if len(fits) == 0 {
		return ""
	}
	v := fits[g.Intn(len(fits))]
	g.last = v.dtype
	return v.name
}

// tensor returns a variable of a shape; it makes one if need be.
func (g *generator) tensor(shape string) string {
	if v := g.of(shape); v != "" && g.Intn(5) > 0 {
		return v
	}
	return g.factory(shape)
}

// add assigns an expression to a new name, or now and then to an old one.
func (g *generator) add(shape, text string) string {
	name := g.name()
	g.emit(name+" = "+text, name)
	g.vars = append(g.vars, variable{name, shape, false, g.last})
	return name
}

func (g *generator) number(text string) {
	name := g.name()
	g.emit(name+" = "+text, name)
	g.vars = append(g.vars, variable{name, "", true, ""})
}

func (g *generator) scalar() string {
	for _, v := range g.vars {
		if v.number && g.Intn(2) == 0 {
			return v.name
		}
	}
	return g.pick("2", "0.5", "3", "1.5", "True", "-1")
}

func (g *generator) shape() string { return g.pick("4,4", "4,4", "4,4", "4", "4", "", "2,4,4") }

// fits are the shapes that broadcast with one, without changing it.
func (g *generator) fitting(shape string) string {
	switch shape {
	case "4,4":
		return g.pick("4,4", "4,4", "4", "")
	case "4":
		return g.pick("4", "4", "")
	case "2,4,4":
		return g.pick("2,4,4", "4,4", "4", "")
	}
	return ""
}

func (g *generator) tableOp() {
	ts := g.templates[g.Intn(len(g.templates))]
	t := ts[g.Intn(len(ts))]
	code := t.code
	first := ""
	if g.Intn(10) < 5 { // nearly every op takes float32 and float64
		g.want = g.pick("float32", "float32", "float64", "bfloat16")
	}
	for i := len(t.shapes) - 1; i >= 0; i-- {
		v := g.tensor(t.shapes[i])
		if i == 0 {
			first = v
		}
		if g.Intn(10) < 8 {
			g.want = g.last
		}
		code = strings.ReplaceAll(code, fmt.Sprintf("$%d", i), v)
	}
	g.want = ""
	g.ops = append(g.ops, t.op)
	_ = first
	switch {
	case len(t.out) == 0:
		g.emit(code)
	case t.tuple:
		var names []string
		for range t.out {
			names = append(names, g.name())
		}
		left := strings.Join(names, ", ")
		if len(names) == 1 {
			left += ","
		}
		g.emit(left+" = "+code, names...)
		for i, s := range t.out {
			g.vars = append(g.vars, variable{names[i], s, false, g.last})
		}
	default:
		g.add(t.out[0], code)
	}
}

func (g *generator) statement() {
	k := g.Intn(100)
	if g.inside != "" && k >= 80 {
		k = g.Intn(80)
	}
	switch {
	case k < 8:
		g.factory(g.shape())
	case k < 45:
		g.tableOp()
	case k < 55: // operators
		s := g.shape()
		a := g.tensor(s)
		op := g.pick("+", "-", "*", "/", "+", "-", "*", "/", "//", "%", "**", "@", "&", "|", "^", "<<", ">>")
		switch {
		case op == "@":
			x := g.pick("4,4", "4,4", "4")
			y := g.pick("4,4", "4,4", "4")
			out := "4,4"
			if x == "4" || y == "4" {
				out = "4"
			}
			if x == "4" && y == "4" {
				out = ""
			}
			g.add(out, g.tensor(x)+" @ "+g.tensor(y))
		case g.Intn(3) == 0:
			n := g.scalar()
			if g.Intn(3) == 0 {
				g.add(s, n+" "+op+" "+a)
			} else {
				g.add(s, a+" "+op+" "+n)
			}
		default:
			b := g.tensor(g.fitting(s))
			if g.Intn(2) == 0 {
				a, b = b, a
			}
			g.add(s, a+" "+op+" "+b)
		}
	case k < 57:
		s := g.shape()
		g.add(s, g.pick("-", "~", "-", "+", "abs")+"("+g.tensor(s)+")")
	case k < 60:
		s := g.shape()
		a := g.tensor(s)
		g.add(s, fmt.Sprintf("%s %s %s", a, g.pick("<", "<=", ">", ">=", "==", "!="), g.pick(g.tensor(g.fitting(s)), g.scalar())))
	case k < 66: // casts
		s := g.shape()
		a := g.tensor(s)
		d := g.dtype()
		switch g.Intn(8) {
		case 0, 1:
			g.add(s, fmt.Sprintf("%s.to(torch.%s)", a, d))
		case 2:
			g.add(s, a+g.pick(".float()", ".double()", ".bfloat16()", ".long()", ".bool()", ".int()", ".half()"))
		case 3:
			g.add(s, fmt.Sprintf("%s.to(%s)", a, g.tensor(g.shape())))
		case 4:
			g.add(s, fmt.Sprintf("%s.to(%s.dtype)", a, g.tensor(g.shape())))
		case 5:
			g.add(s, fmt.Sprintf("%s.type_as(%s)", a, g.tensor(g.shape())))
		case 6:
			g.add(s, fmt.Sprintf("%s.type(torch.%s)", a, d))
		default:
			g.add(s, fmt.Sprintf("%s.to('cpu')", a))
		}
	case k < 71: // reading by an index
		switch g.Intn(9) {
		case 0:
			g.add("4", g.tensor("4,4")+"[0]")
		case 1:
			g.add("", g.tensor("4")+"[1]")
		case 2:
			g.add("2,4", g.tensor("4,4")+"[1:3]")
		case 3:
			g.add("2,4", g.tensor("4,4")+"[[0, 2]]")
		case 4:
			a := g.tensor("4,4")
			g.add("?", fmt.Sprintf("%s[%s != 0]", a, a))
		case 5:
			g.add("", g.tensor("4,4")+"[0, 1]")
		case 6:
			g.add("4", g.tensor("4,4")+g.pick("[:, 0]", "[..., 0]", "[-1]"))
		case 7:
			g.add("4,1", g.tensor("4")+"[:, None]")
		case 8:
			g.add("3,4", g.tensor("4,4")+"[torch.tensor([0, 1, 3])]")
		}
	case k < 76: // writing by an index
		a := g.tensor("4,4")
		switch g.Intn(9) {
		case 0:
			g.emit(fmt.Sprintf("%s[0] = %s", a, g.tensor("4")))
		case 1:
			g.emit(fmt.Sprintf("%s[1:3] = %s", a, g.tensor("4")))
		case 2:
			g.emit(fmt.Sprintf("%s[[0, 2]] = %s", a, g.tensor("4")))
		case 3:
			g.emit(fmt.Sprintf("%s[%s > 0] = %s", a, a, g.pick(g.tensor(""), g.scalar())))
		case 4:
			g.emit(fmt.Sprintf("%s[torch.tensor([0, 1, 3])] = %s", a, g.tensor("4")))
		case 5:
			g.emit(fmt.Sprintf("%s[0, 1] = %s", a, g.pick(g.scalar(), g.tensor(""))))
		case 6:
			g.emit(fmt.Sprintf("%s[:, 0] = %s", a, g.tensor("4")))
		case 7:
			g.emit(fmt.Sprintf("%s[torch.eye(4, dtype=torch.bool)] = %s", a, g.tensor("4")))
		case 8:
			g.emit(fmt.Sprintf("%s[torch.tensor(1)] = %s", a, g.tensor("4")))
		}
	case k < 80: // in place by operator
		s := g.shape()
		a := g.tensor(s)
		b := g.tensor(g.fitting(s))
		if g.Intn(3) == 0 {
			b = g.scalar()
		}
		g.emit(fmt.Sprintf("%s %s= %s", a, g.pick("+", "-", "*", "/", "**", "//", "&"), b), a)
	case k < 83: // numbers
		switch g.Intn(5) {
		case 0:
			g.number(g.tensor("") + ".item()")
		case 1:
			g.number(g.pick("2", "0.5", "True", "7", "1e-3"))
		case 2:
			g.number(g.tensor(g.shape()) + g.pick(".numel()", ".dim()"))
		case 3:
			g.number(g.tensor("4") + ".shape[0]")
		case 4:
			g.number(g.scalar() + g.pick(" + ", " * ", " / ", " - ") + g.scalar())
		}
	case k < 88:
		g.branch()
	case k < 91:
		g.function()
	case k < 95:
		g.module()
	case k < 98:
		g.autocast()
	default:
		g.language()
	}
}

// language is about Python's ways of handing dtypes on.
func (g *generator) language() {
	g.tags["language"] = true
	s := g.shape()
	a := g.tensor(s)
	n := g.name()[1:]
	switch g.Intn(9) {
	case 0: // a lambda
		g.plain(fmt.Sprintf("f%s = lambda x, k=%s: x %s k", n, g.pick("2", "0.5", "True"), g.pick("+", "*", "/")))
		g.add(s, fmt.Sprintf("f%s(%s)", n, a))
	case 1: // a dictionary of dtypes, read by a known key and by an unknown one
		one, other := g.dtype(), g.dtype()
		g.plain(fmt.Sprintf("d%s = {'one': torch.%s, 'other': torch.%s}", n, one, other))
		g.add(s, fmt.Sprintf("%s.to(d%s['%s'])", a, n, g.pick("one", "other")))
		g.add(s, fmt.Sprintf("%s.to(d%s.get('third', torch.%s))", a, n, other))
	case 2: // a default that is None
		g.plain(fmt.Sprintf("def exists%s(v): return v is not None", n))
		g.plain(fmt.Sprintf("def f%s(x, other=None):", n))
		g.plain(fmt.Sprintf("    other = other if exists%s(other) else x.double()", n))
		g.plain("    return x + other")
		g.add(s, fmt.Sprintf("f%s(%s%s)", n, a, g.pick("", ", None", ", "+g.tensor(g.fitting(s)))))
	case 3: // tests of the kind and of the dtype
		b := g.pick(g.tensor(g.fitting(s)), g.scalar())
		g.plain(fmt.Sprintf("def f%s(x, k):", n))
		g.plain("    if isinstance(k, torch.Tensor):")
		g.plain("        return x + k.to(x.dtype)")
		g.plain("    return x * k")
		g.add(s, fmt.Sprintf("f%s(%s, %s)", n, a, b))
	case 4:
		g.plain(fmt.Sprintf("def f%s(x):", n))
		g.plain("    if x.dtype in (torch.float16, torch.bfloat16):")
		g.plain("        return x.float()")
		g.plain("    return x")
		g.add(s, fmt.Sprintf("f%s(%s)", n, a))
	case 5: // an argument for a dtype
		g.plain(fmt.Sprintf("def f%s(x, dtype=None, **rest):", n))
		g.plain("    dtype = dtype or x.dtype")
		g.plain("    return torch.ones_like(x, dtype=dtype)")
		g.add(s, fmt.Sprintf("f%s(%s%s)", n, a, g.pick("", ", torch."+g.dtype(), ", dtype=torch."+g.dtype())))
	case 6: // a property and a method
		g.plain(fmt.Sprintf("class P%s:", n))
		g.plain("    def __init__(self, x):")
		g.plain("        self.x = x")
		g.plain("    @property")
		g.plain("    def dtype(self):")
		g.plain("        return torch." + g.dtype())
		g.plain("    def cast(self, y):")
		g.plain("        return y.to(self.dtype)")
		g.add(s, fmt.Sprintf("P%s(3).cast(%s)", n, a))
	case 7: // the default dtype
		d := g.pick("float32", "float64")
		g.plain("torch.set_default_dtype(torch." + d + ")")
		g.add("4", "torch.ones(4)")
		g.add("4", "torch.arange(4) * 0.5")
		g.plain("torch.set_default_dtype(torch.float32)")
	case 8: // comprehensions and unpacking
		b := g.tensor(s)
		x, y := g.name(), g.name()
		g.emit(fmt.Sprintf("%s, %s = [t.%s() for t in (%s, %s)]", x, y, g.pick("float", "clone", "double"), a, b), x, y)
		g.vars = append(g.vars, variable{x, s, false, g.last}, variable{y, s, false, g.last})
	}
}

func (g *generator) branch() {
	g.tags["branch"] = true
	s := g.shape()
	a := g.tensor(s)
	target := g.name()
	saved := len(g.vars)
	value := func() string {
		switch g.Intn(4) {
		case 0:
			return a + ".to(torch." + g.dtype() + ")"
		case 1:
			return a + " * " + g.pick("0.5", "2")
		case 2:
			return a + " + " + g.tensorOutside(g.fitting(s), a)
		}
		return a
	}
	cond, oracle := fmt.Sprintf("bool((%s != 0).any())", a), ""
	switch g.Intn(6) {
	case 0:
		cond = g.pick("True", "False")
	case 1:
		cond = fmt.Sprintf("%s.dtype == torch.%s", a, g.dtype())
	case 2:
		cond = a + ".is_floating_point()"
	default:
		g.tags["data"] = true
		oracle = fmt.Sprintf("C[%d]", g.conds)
		g.conds++
	}
	if oracle == "" {
		oracle = cond
	}
	g.lines = append(g.lines, line{"if " + cond + ":", "if " + oracle + ":"})
	g.inside = "    "
	g.emit(target+" = "+value(), target)
	g.inside = ""
	g.plain("else:")
	g.inside = "    "
	g.emit(target+" = "+value(), target)
	g.inside = ""
	g.vars = append(g.vars[:saved], variable{target, s, false, g.last})
}

func (g *generator) tensorOutside(shape, other string) string {
	if v := g.of(shape); v != "" {
		return v
	}
	return other
}

func (g *generator) function() {
	g.tags["function"] = true
	f := "f" + g.name()[1:]
	s := g.shape()
	o := g.fitting(s)
	body := g.pick("x + y", "x * 2.5", "x @ y.T", "torch.where(x > 0, x, y)", "x.sum() + y", "torch.cat([x.reshape(-1), y.reshape(-1)])", "(x.float() * y).to(x.dtype)", "x / 2", "x.mean() if x.is_floating_point() else x.sum()", "F.relu(x)", "torch.sqrt(x) - y", "x.new_zeros(4) + y")
	out := s
	switch {
	case strings.Contains(body, "@"):
		s, o, out = "4,4", "4,4", "4,4"
	case strings.Contains(body, "cat"):
		out = "?"
	case strings.Contains(body, "mean"):
		out = ""
	case strings.HasPrefix(body, "x.sum"):
		out = o
	case strings.Contains(body, "new_zeros"):
		s, o, out = "4", "4", "4"
	}
	a, b := g.tensor(s), g.tensor(o)
	g.plain(fmt.Sprintf("def %s(x, y):", f))
	g.plain("    z = " + body)
	g.plain("    return z")
	g.add(out, fmt.Sprintf("%s(%s, %s)", f, a, b))
	if g.Intn(3) == 0 {
		g.add(out, fmt.Sprintf("%s(%s, %s)", f, g.tensor(s), g.tensor(o)))
	}
}

func (g *generator) module() {
	g.tags["module"] = true
	m := "m" + g.name()[1:]
	made := g.pick("nn.Linear(4, 4)", "nn.Linear(4, 4, bias=False)", "nn.LayerNorm(4)", "nn.ReLU()", "nn.GELU()", "nn.Sigmoid()", "nn.Tanh()", "nn.SiLU()", "nn.Softmax(dim=-1)", "nn.Dropout(0.5)", "nn.Identity()",
		"nn.Sequential(nn.Linear(4, 4), nn.ReLU())", "nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4))", "nn.Linear(4, 4, dtype=torch.float64)", "nn.MSELoss()", "nn.L1Loss()", "nn.PReLU()", "nn.Softplus()", "nn.Hardtanh()", "CLASS", "CLASS")
	if made == "CLASS" {
		c := "M" + m[1:]
		g.plain("class " + c + "(nn.Module):")
		g.plain("    def __init__(self):")
		g.plain("        super().__init__()")
		g.plain("        self.fc = nn.Linear(4, 4)")
		g.plain("        self.scale = nn.Parameter(torch.ones(4))")
		g.plain("        self.register_buffer('shift', torch.zeros(4))")
		g.plain("    def forward(self, x):")
		g.plain("        return " + g.pick("self.fc(x) * self.scale", "x * self.scale + self.shift", "self.fc(x)", "torch.relu(x) + self.shift"))
		made = c + "()"
	}
	made += g.pick("", "", "", ".to(torch.bfloat16)", ".double()", ".bfloat16()", ".to(torch.float64)")
	g.emit(m + " = " + made)
	shape := g.pick("4,4", "2,4,4", "4,4", "4")
	switch {
	case strings.Contains(made, "Loss"):
		g.add("", fmt.Sprintf("%s(%s, %s)", m, g.tensor(shape), g.tensor(shape)))
	default:
		g.add(shape, fmt.Sprintf("%s(%s)", m, g.tensor(shape)))
	}
}

func (g *generator) autocast() {
	g.tags["autocast"] = true
	if g.Intn(5) == 0 { // a decorator
		f := "f" + g.name()[1:]
		g.plain("@" + g.pick("torch.autocast('cpu')", "torch.autocast('cpu', dtype=torch.bfloat16)", "torch.autocast(device_type='cpu', enabled=False)"))
		g.plain(fmt.Sprintf("def %s(x, y):", f))
		g.plain("    return " + g.pick("x @ y", "(x @ y) + x", "F.linear(x, y)", "torch.softmax(x @ y, -1)"))
		g.add("4,4", fmt.Sprintf("%s(%s, %s)", f, g.tensor("4,4"), g.tensor("4,4")))
		return
	}
	saved := len(g.vars)
	g.tensor("4,4")
	g.tensor("4,4")
	g.plain("with " + g.pick("torch.autocast('cpu', dtype=torch.bfloat16)", "torch.autocast('cpu')", "torch.autocast(device_type='cpu', dtype=torch.bfloat16)", "torch.cpu.amp.autocast()", "torch.autocast('cpu', enabled=False)") + ":")
	g.inside = "    "
	for range 1 + g.Intn(3) {
		switch g.Intn(4) {
		case 0:
			g.add("4,4", g.tensor("4,4")+" @ "+g.tensor("4,4"))
		case 1:
			g.add("4,4", "F.linear("+g.tensor("4,4")+", "+g.tensor("4,4")+")")
		default:
			g.tableOp()
		}
	}
	g.inside = ""
	_ = saved
}

// program makes one program.
func (g *generator) program() {
	g.tags = map[string]bool{}
	for _, s := range []string{"import torch", "import torch.nn as nn", "import torch.nn.functional as F"} {
		g.plain(s)
	}
	head := len(g.lines)
	want := 2 + g.Intn(11)
	for n := 0; n < want && len(g.lines)-head < want+4; n++ {
		g.statement()
	}
}
