package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var unsupportedOpForHalf = &analysis.Rule{
	Name:     "unsupported-op-for-half",
	Severity: analysis.Medium,
	Doc: `An operation without half precision gets a half tensor

torch.linalg has no half precision on any device: inv, solve, det, svd, qr,
eigh, cholesky, pinv and their relatives refuse bfloat16 and float16, and so
does quantile. torch.fft, polar, complex and view_as_complex refuse bfloat16;
of float16 fft makes an experimental complex dtype on CUDA and stops on the CPU.

Evidence: the tensor is half on every path (certain). One path to the operation
casts the tensor up and another does not; its dtype is an argument that the file
fills with a model's or a tensor's dtype; or the function remembers a dtype to
cast back to and nothing in it casts up (likely).

Fix: the tensor is cast to float32 for the operation and its result back to the
tensor's dtype. Where the operation gives several tensors or a complex one, only
the input is cast. What was rounded before stays rounded: a camera matrix is
better inverted before it is made half.

Silent for tensors whose dtype is not known and that nothing here shows to be
half, and inside autocast, which casts some of them on the CPU.
`,
	Run: func(p *analysis.Pass) {
		calls(p, func(call *python.Call, _ python.Stmt, around []python.Node) {
			if probed(p, around) || autocast(p, around) {
				return
			}
			tensor, op := refusing(p, call)
			if tensor == nil {
				return
			}
			r := lacking{pass: p, call: call, tensor: tensor, op: op, value: p.Facts.Values[tensor], in: function(around)}
			if d, half := halfExact(r.value); half {
				r.exact(d)
			} else if r.value != nil && r.in != nil {
				r.guarded()
			}
		})
	},
}

// A lack says which half dtypes an operation refuses on every device, and what
// it gives.
type lack struct {
	brain, half bool // bfloat16, float16
	single      bool // the result is one tensor of the input's dtype
	operands    int  // how many of the first arguments need one dtype
}

// linearAlgebra are the operations that refuse half precision on every device:
// inv, slogdet and pinv check for it, the others have no kernel, neither in
// LAPACK nor in cuSOLVER. True are those whose result is one tensor.
var linearAlgebra = map[string]bool{
	"inv": true, "det": true, "solve": true, "cholesky": true, "pinv": true, "eigvalsh": true, "svdvals": true,
	"svd": false, "qr": false, "eigh": false, "eig": false, "slogdet": false, "lstsq": false,
}

// legacyAlgebra are the same under their older names, as methods too.
var legacyAlgebra = map[string]string{
	"inverse": "inv", "det": "det", "cholesky": "cholesky", "pinverse": "pinv", "svd": "svd", "qr": "qr", "slogdet": "slogdet",
}

// transforms are the functions of torch.fft that take real or complex tensors.
var transforms = map[string]bool{"fft": true, "fft2": true, "fftn": true, "rfft": true, "rfft2": true, "rfftn": true, "hfft": true, "ifft": true, "ifft2": true, "ifftn": true}

// refusing is the tensor that a call hands to an operation that lacks a half
// dtype, nil if the call is none.
func refusing(p *analysis.Pass, call *python.Call) (python.Expr, lack) {
	at, isMethod := call.Func.(*python.Attribute)
	name := library(p, call.Func)
	if name == "" && isMethod {
		if long := legacyAlgebra[at.Sel]; long != "" {
			return at.X, algebra(long)
		}
		if at.Sel == "quantile" {
			return at.X, lack{brain: true, half: true, single: true, operands: 1}
		}
		return nil, lack{}
	}
	if len(call.Args) == 0 || call.Args[0].Star > 0 || call.Args[0].Name != "" {
		return nil, lack{}
	}
	first := call.Args[0].Value
	short := name[strings.LastIndexByte(name, '.')+1:]
	switch {
	case strings.HasPrefix(name, "torch.linalg."):
		if _, known := linearAlgebra[short]; known {
			return first, algebra(short)
		}
	case strings.HasPrefix(name, "torch.fft."):
		if transforms[short] {
			return first, lack{brain: true, operands: 1}
		}
	case name == "torch.polar", name == "torch.complex":
		return first, lack{brain: true, operands: 2}
	case name == "torch.view_as_complex":
		return first, lack{brain: true, operands: 1}
	case name == "torch.quantile", name == "torch.nanquantile":
		return first, lack{brain: true, half: true, single: true, operands: 1}
	case strings.HasPrefix(name, "torch.") && strings.Count(name, ".") == 1:
		if long := legacyAlgebra[short]; long != "" {
			return first, algebra(long)
		}
	}
	return nil, lack{}
}

// algebra is what a function of linear algebra lacks.
func algebra(name string) lack {
	l := lack{brain: true, half: true, single: linearAlgebra[name], operands: 1}
	if name == "solve" || name == "lstsq" { // the right-hand side must be float32 too
		l.operands = 2
	}
	return l
}

// autocast reports whether autocast surrounds a statement, by with or by a
// decorator. What a region switches off counts as one too.
func autocast(p *analysis.Pass, around []python.Node) bool {
	for _, n := range around {
		switch n := n.(type) {
		case *python.With:
			for _, it := range n.Items {
				if strings.Contains(p.Tree.Text(it.Context.Pos()), "autocast") {
					return true
				}
			}
		case *python.FuncDef:
			for _, d := range n.Decorators {
				if text := p.Tree.Text(d.Pos()); strings.Contains(text, "autocast") || strings.Contains(text, "custom_") {
					return true
				}
			}
		}
	}
	return false
}

// lacking is one call of an operation that lacks a half dtype.
type lacking struct {
	pass   *analysis.Pass
	call   *python.Call
	tensor python.Expr
	op     lack
	value  *interp.Value
	in     *python.FuncDef
	at     python.Span // where the comment stands; the operation's statement if unset
}

// name quotes the tensor, written the operation.
func (r *lacking) name() string    { return code(r.pass.Tree.Text(base(r.tensor).Pos())) }
func (r *lacking) written() string { return code(r.pass.Tree.Text(r.call.Func.Pos())) }

func (r *lacking) report(c analysis.Confidence, message string, because []analysis.Reason, ref string) {
	p := r.pass
	takes := "it wants float32 or float64"
	if r.at.End == 0 {
		r.at = statementOf(p, r.call)
	}
	p.Report(analysis.Finding{
		Confidence: c, At: r.at, Scope: scopeOf(p, r.call), Ops: []python.Span{r.call.Pos()},
		Message: message, Because: append(because, p.Reason(r.call.Pos(), fmt.Sprintf("%s: %s", r.written(), takes))), Fix: r.fix(ref),
	})
}

// fix computes the operation in float32; ref is the dtype to cast back to, ""
// if the result stays.
func (r *lacking) fix(ref string) *analysis.Fix {
	fix := &analysis.Fix{Title: "Compute it in float32", Safety: analysis.Unsafe, Edits: castEdit(r.pass, r.tensor, ".float()")}
	end := r.call.Pos().End
	single := r.op.single
	if !single && r.op.half { // one of several results: torch.linalg.qr(w)[0]
		end, single = r.picked()
	}
	if single && ref != "" {
		fix.Edits = append(fix.Edits, insertAt(end, ".to("+ref+")"))
	}
	if single || !r.op.half {
		fix.Safety = analysis.Safe
	}
	if r.op.operands == 2 {
		if len(r.call.Args) < 2 || r.call.Args[1].Name != "" || r.call.Args[1].Star > 0 || r.call.Args[0].Value != r.tensor {
			return nil
		}
		fix.Edits = append(fix.Edits, castEdit(r.pass, r.call.Args[1].Value, ".float()")...)
	}
	return fix
}

// picked is the end of the subscript that takes one of the results.
func (r *lacking) picked() (end uint32, ok bool) {
	stmt := r.pass.Tree.StmtAt(r.call.Start)
	if stmt == nil {
		return 0, false
	}
	python.Inspect(stmt, func(n python.Node) bool {
		if sub, is := n.(*python.Subscript); is && sub.X == python.Expr(r.call) && len(sub.Index) == 1 {
			if _, isInt := literalInt(sub.Index[0]); isInt {
				end, ok = sub.End, true
			}
		}
		return !ok
	})
	return end, ok
}

// exact reports a tensor whose dtype is half on every path.
func (r *lacking) exact(d dtype.DType) {
	if d == dtype.BFloat16 && !r.op.brain || d == dtype.Float16 && !r.op.half {
		return
	}
	ref := "torch." + d.String()
	if text, isPath := path(base(r.tensor)); isPath {
		ref = text + ".dtype"
	}
	which := d.String()
	if r.op.brain && r.op.half {
		which = "neither bfloat16 nor float16"
	} else {
		which = "no " + which
	}
	r.report(analysis.Certain, fmt.Sprintf("%s is %s, and %s takes %s, on any device: PyTorch stops here.", r.name(), d, r.written(), which),
		story(r.pass, r.value, r.name()), ref)
}

// guarded reports a tensor of unknown dtype where the function shows that it
// may be half.
func (r *lacking) guarded() {
	p := r.pass
	ref := ""
	if text, isPath := path(base(r.tensor)); isPath {
		ref = text + ".dtype"
	}
	says := "PyTorch stops here for bfloat16"
	if r.op.half {
		says = "PyTorch stops here for bfloat16 and float16"
	}
	if up, rest := upcastPath(r.value); up != nil {
		brain, half, guard := comesThrough(p, r.in, up)
		if guard != nil {
			r.at = guard.Pos()
		}
		switch {
		case brain && r.op.brain:
		case half && r.op.half:
			says = "PyTorch stops here for float16"
		case half && strings.HasPrefix(library(p, r.call.Func), "torch.fft."):
			says = "of float16 it makes the experimental ComplexHalf on CUDA, and on the CPU PyTorch stops"
		default:
			return
		}
		r.report(analysis.Likely, fmt.Sprintf("%s is cast to float32 on one path to %s, and comes as it is on another: %s.", r.name(), r.written(), says),
			[]analysis.Reason{p.Reason(up.Pos(), "cast up on this path"), p.Reason(rest.Pos(), "and not where it comes from here directly")}, ref)
		return
	}
	root, ok := r.value.Tensor().DType.Root()
	if !ok || r.value.Maybe {
		return
	}
	if at := handedDType(p, r.in, root.Name); at != nil {
		r.report(analysis.Likely, fmt.Sprintf("%s has the dtype that %s is called with, here that of a model (line %d): with it in half precision, %s.", r.name(), code(r.in.Name), p.Tree.Line(at.Pos().Start), says),
			[]analysis.Reason{p.Reason(at.Pos(), "the file calls it with this dtype")}, "")
		return
	}
	if kept := castsBackOnly(p, r.in); kept != nil && ofModule(r.value) {
		if cast := castToIts(p, r.in, base(r.tensor)); cast != nil {
			r.at = cast.Pos()
		}
		r.report(analysis.Likely, fmt.Sprintf("The function remembers a dtype to cast back to, but nothing casts up: %s has the module's dtype here, and %s.", r.name(), says),
			append([]analysis.Reason{p.Reason(kept.Pos(), "remembered to cast back to")}, story(p, r.value, r.name())...), ref)
	}
}

// upcastPath finds, where two paths meet, one that cast to float32 and one that
// did not.
func upcastPath(v *interp.Value) (up, rest python.Node) {
	v = origin(v)
	if v.How != interp.HowJoin || v.Maybe {
		return nil, nil
	}
	for _, f := range v.From {
		if u, r := upcastPath(f); u != nil && r != nil {
			return u, r
		}
		o := origin(f)
		d, exact := o.DType.Exact()
		_, root := tensorRoot(o)
		switch {
		case o.How == interp.HowCast && exact && d == dtype.Float32 && o.At != nil:
			up = o.At
		case root && o.At != nil && (o.How == interp.HowParam || o.How == interp.HowAttr || o.How == interp.HowCall):
			rest = o.At
		}
	}
	if up == nil || rest == nil {
		return nil, nil
	}
	return up, rest
}

// comesThrough says which half dtypes get past the conditions under which a
// function casts up: both past one that asks about something else than dtypes,
// the other one past a comparison with one, which is the guard, none past any
// other.
func comesThrough(p *analysis.Pass, d *python.FuncDef, up python.Node) (brain, half bool, guard python.Expr) {
	brain, half = true, true
	name := ""
	if a, ok := p.Tree.StmtAt(up.Pos().Start).(*python.Assign); ok {
		name = boundName(a)
	}
	inBody(d, func(s python.Stmt, around []python.Node) {
		a, ok := s.(*python.Assign)
		if !ok || a.Value == nil || name == "" || boundName(a) != name || !upcasts.MatchString(squeeze(p.Tree.Text(a.Value.Pos()))) {
			return
		}
		if len(around) == 0 {
			brain, half = false, false
			return
		}
		i, isIf := around[len(around)-1].(*python.If)
		if !isIf {
			brain, half = false, false
			return
		}
		switch of, only := guardedDType(p, i.Cond); {
		case only && of == dtype.BFloat16:
			brain, guard = false, i.Cond
		case only && of == dtype.Float16:
			half, guard = false, i.Cond
		case ofPrecision(p.Tree.Text(i.Cond.Pos())):
			brain, half = false, false
		}
	})
	return brain, half, guard
}

// guardedDType is the half dtype that a condition compares with and with
// nothing else.
func guardedDType(p *analysis.Pass, cond python.Expr) (dtype.DType, bool) {
	c, ok := cond.(*python.Compare)
	if !ok || len(c.Xs) != 2 || c.Ops[0] != "==" {
		return dtype.None, false
	}
	d, ok := dtypeLiteral(p, c.Xs[1])
	return d, ok && d.Half()
}

// handedDType is an argument of the form X.dtype that a call in the file gives
// for a dtype parameter of a function.
func handedDType(p *analysis.Pass, d *python.FuncDef, name string) python.Node {
	if !strings.HasSuffix(name, "dtype") || !hasParam(d, name) {
		return nil
	}
	place := slices.IndexFunc(d.Params, func(q python.Param) bool { return q.Name == name })
	var at python.Node
	calls(p, func(call *python.Call, _ python.Stmt, _ []python.Node) {
		if at != nil || !isName(call.Func, d.Name) {
			return
		}
		x := argument(call, name)
		if x == nil && place < len(call.Args) && call.Args[place].Name == "" && call.Args[place].Star == 0 {
			x = call.Args[place].Value
		}
		if a, ok := x.(*python.Attribute); ok && a.Sel == "dtype" {
			at = x
		}
	})
	return at
}

// castToIts is the statement that casts something to a tensor's dtype.
func castToIts(p *analysis.Pass, d *python.FuncDef, tensor python.Expr) python.Node {
	var at python.Node
	inBody(d, func(s python.Stmt, _ []python.Node) {
		a, ok := s.(*python.Assign)
		if !ok || a.Value == nil {
			return
		}
		if call, isCall := a.Value.(*python.Call); isCall {
			if _, x, isCast := castTarget(p, call); isCast && p.Tree.Text(x.Pos()) == p.Tree.Text(tensor.Pos())+".dtype" {
				at = a
			}
		}
	})
	return at
}

// castsBackOnly is the place where a function remembers a dtype that it casts
// back to, if it never casts to float32.
func castsBackOnly(p *analysis.Pass, d *python.FuncDef) python.Node {
	kept := map[string]python.Node{}
	var back python.Node
	up := false
	inBody(d, func(s python.Stmt, _ []python.Node) {
		if a, ok := s.(*python.Assign); ok && len(a.Targets) == 1 && a.Value != nil {
			if at, isAttr := a.Value.(*python.Attribute); isAttr && at.Sel == "dtype" && boundName(a) != "" {
				kept[boundName(a)] = a
			}
		}
		expressions(p, s, func(n python.Node) {
			switch n := n.(type) {
			case *python.Call:
				if _, x, ok := castTarget(p, n); ok {
					if name, isPath := path(x); isPath && kept[name] != nil {
						back = kept[name]
					}
				}
			case *python.Attribute:
				up = up || n.Sel == "float" || n.Sel == "float32" || n.Sel == "double" || n.Sel == "float64"
			}
		})
	})
	if up {
		return nil
	}
	return back
}
