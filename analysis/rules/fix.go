package rules

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

// base descends from an operand to what was moved, transposed or sliced: the
// place where a cast reads best, intrinsics.to(x.dtype).transpose(-1, -2).
func base(x python.Expr) python.Expr {
	for {
		switch e := x.(type) {
		case *python.Call:
			at, ok := e.Func.(*python.Attribute)
			if !ok || !descends[at.Sel] {
				return x
			}
			if _, isPath := path(at.X); !isPath {
				if inner := base(at.X); inner == at.X {
					return x
				}
			}
			x = at.X
		case *python.Attribute:
			if e.Sel != "T" && e.Sel != "mT" {
				return x
			}
			x = e.X
		case *python.Subscript:
			if _, ok := path(e.X); !ok {
				return x
			}
			for _, i := range e.Index {
				if _, isStr := i.(*python.Str); isStr {
					return x
				}
			}
			return x
		default:
			return x
		}
	}
}

// descends are methods that keep the dtype and change the shape or the place.
var descends = map[string]bool{
	"transpose": true, "t": true, "permute": true, "unsqueeze": true, "squeeze": true, "expand": true, "view": true, "reshape": true, "contiguous": true, "repeat": true, "flatten": true, "cpu": true, "detach": true, "clone": true, "cuda": true,
}

// path returns the text of a name or attribute chain.
func path(x python.Expr) (string, bool) {
	switch x := x.(type) {
	case *python.Name:
		return x.ID, true
	case *python.Attribute:
		if p, ok := path(x.X); ok {
			return p + "." + x.Sel, true
		}
	}
	return "", false
}

// reference finds an expression for an operand's dtype at the operation:
// "points_homo.dtype".
func reference(p *analysis.Pass, op *interp.Op, o interp.Operand) (string, bool) {
	if op.Kind == interp.OpModule && o.Name == "weight" {
		name := op.Name[strings.LastIndexByte(op.Name, '.')+1:]
		switch {
		case name == "Linear", strings.HasPrefix(name, "Conv"), strings.HasSuffix(name, "Norm"):
			if _, ok := path(o.Expr); ok {
				return p.Tree.Text(o.Expr.Pos()) + ".weight.dtype", true
			}
		}
		return "", false
	}
	b := base(o.Expr)
	if text, ok := path(b); ok && !strings.HasSuffix(text, ".weight.T") {
		return text + ".dtype", true
	}
	if s, ok := b.(*python.Subscript); ok {
		if text, ok := path(s.X); ok {
			if v := op.InScope.Get(text); v != nil && tensorType(v).Equal(o.Value.DType) {
				return text + ".dtype", true
			}
		}
	}
	return nameOf(op.InScope, o.Value.DType)
}

func tensorType(v *interp.Value) dtype.Type { return v.Tensor().DType }

// nameOf finds a name in scope whose dtype is t: the root's own name before
// others, then the alphabetically first.
func nameOf(scope interp.Names, t dtype.Type) (string, bool) {
	if !t.Known() {
		return "", false
	}
	r, rooted := t.Root()
	first := ""
	for n, v := range scope.All() {
		if u := tensorType(v); !u.Known() || !u.Equal(t) {
			continue
		}
		if rooted && n == r.Name {
			return n + ".dtype", true
		}
		if first == "" {
			first = n
		}
	}
	if first == "" {
		return "", false
	}
	return first + ".dtype", true
}

// castEdit casts an expression at its base.
func castEdit(p *analysis.Pass, x python.Expr, call string) []analysis.Edit {
	b := base(x)
	s := b.Pos()
	if python.NeedsParens(p.Tree, b) {
		return []analysis.Edit{
			{Span: python.Span{Start: s.Start, End: s.Start}, New: "("},
			{Span: python.Span{Start: s.End, End: s.End}, New: ")" + call},
		}
	}
	return []analysis.Edit{{Span: python.Span{Start: s.End, End: s.End}, New: call}}
}

// castFix casts the odd operand to the kept one's dtype at the operation.
func castFix(p *analysis.Pass, c *conflict) *analysis.Fix {
	if c.op.Kind == interp.OpModule && c.odd.Name == "weight" {
		return nil // never cast a parameter in forward
	}
	if writtenInto(c.op, c.odd) {
		return nil // x.to(dtype).add_(y) leaves x as it was
	}
	if isLoss(c.op.Name) {
		return lossFix(p, c)
	}
	ref, ok := reference(p, c.op, c.keep)
	if d, exact := c.keep.Value.DType.Exact(); !ok && exact && explicitCast(c.keep) {
		// No name has that dtype, but the code itself spells it: points.float() @ full.
		ref, ok = "torch."+d.String(), true
	}
	if !ok || integerName(ref) {
		return nil
	}
	edits := castEdit(p, c.odd.Expr, ".to("+ref+")")
	for _, o := range alsoOdd(c) {
		edits = append(edits, castEdit(p, o.Expr, ".to("+ref+")")...)
	}
	return &analysis.Fix{Title: "Cast to `" + ref + "`", Safety: analysis.Safe, Edits: edits}
}

// alsoOdd are the other operands that have the odd one's dtype: of query, key and
// value two may be normalised in float32.
func alsoOdd(c *conflict) (out []interp.Operand) {
	if c.op.Kind != interp.OpRefuses {
		return nil
	}
	for _, o := range c.op.Operands {
		if !sameOperand(o, c.odd) && !sameOperand(o, c.keep) && !o.Soft && o.Expr != nil && o.Value.DType.Known() && o.Value.DType.Equal(c.odd.Value.DType) && !writtenInto(c.op, o) {
			out = append(out, o)
		}
	}
	return out
}

// writtenInto reports whether an operand is what a method writes into, as acc is
// in acc.addmm_(a, b).
func writtenInto(op *interp.Op, o interp.Operand) bool {
	call, ok := op.Node.(*python.Call)
	if !ok {
		return false
	}
	at, ok := call.Func.(*python.Attribute)
	return ok && o.Expr != nil && at.X == o.Expr && strings.HasSuffix(at.Sel, "_") && !strings.HasSuffix(at.Sel, "__")
}

// isLoss reports whether an operation is a loss: losses belong in float32.
func isLoss(name string) bool {
	name = name[strings.LastIndexByte(name, '.')+1:]
	return strings.Contains(name, "loss") || strings.Contains(name, "cross_entropy") || strings.Contains(name, "Loss") || strings.Contains(name, "kl_div")
}

// lossFix casts the prediction up instead of the target down.
func lossFix(p *analysis.Pass, c *conflict) *analysis.Fix {
	d, ok := c.odd.Value.DType.Exact()
	if !ok && c.odd.Value.DType.IsDefault() {
		d, ok = dtype.Float32, true
	}
	if !ok || d != dtype.Float32 {
		return nil
	}
	return &analysis.Fix{Title: "Compute the loss in float32", Safety: analysis.Safe, Edits: castEdit(p, c.keep.Expr, ".float()")}
}

// explicitCast reports whether an operand is written as a cast to a fixed dtype.
func explicitCast(o interp.Operand) bool {
	return o.Value.How == interp.HowCast && o.Value.At == python.Node(o.Expr)
}

// integerName reports whether a name tells that the tensor holds integers;
// names decide the direction of a fix, never a confidence.
func integerName(ref string) bool {
	n := strings.ToLower(strings.TrimSuffix(ref, ".dtype"))
	for _, w := range []string{"idx", "index", "indices", "ids", "label", "mask", "length", "count", "token"} {
		if strings.Contains(n, w) {
			return true
		}
	}
	return false
}

// afterCall are the factories whose call is cast instead of given dtype=: the
// values would change (noise: other samples; tables: rounded positions), or
// the dtype is not accepted (torch.eye refuses bfloat16 in 1.13; measured).
var afterCall = map[string]bool{
	"torch.eye": true, "torch.rand": true, "torch.randn": true, "torch.normal": true, "torch.linspace": true, "torch.logspace": true, "torch.arange": true,
	"torch.Tensor": true, "torch.from_numpy": true, "torch.hann_window": true, "torch.hamming_window": true, "torch.blackman_window": true,
}

// wideOnTheWay reports whether something between a created tensor and the
// operation wants float32: a decomposition, which takes no half precision, or a
// logarithm, for which what is almost 0 must not become 0. The cast has to come
// behind it.
func wideOnTheWay(v, made *interp.Value, depth int) bool {
	if v == nil || v == made || depth == 0 {
		return false
	}
	if name := v.Op[strings.LastIndexByte(v.Op, '.')+1:]; withoutHalf(v.Op) || name == "log" || name == "log()" {
		return inHistory(v, made.At)
	}
	return slices.ContainsFunc(v.From, func(from *interp.Value) bool { return wideOnTheWay(from, made, depth-1) })
}

// factoryFix gives the factory the dtype of the tensor that it meets.
func factoryFix(p *analysis.Pass, c *conflict) (*analysis.Fix, string) {
	m := c.make
	if c.part != nil && wideOnTheWay(c.odd.Value, source(c.part), 40) {
		like := ""
		if m.DeviceOf != nil {
			like, _ = nameFor(m.InScope, m.DeviceOf)
		}
		return castFix(p, c), like
	}
	want := wanted(c)
	ref, ok := "", false
	like := ""
	for _, v := range append([]*interp.Value{m.DeviceOf}, m.ShapeOf...) {
		if v == nil || v.Kind != interp.KindTensor && v.Kind != interp.KindOpen {
			continue
		}
		if n, found := nameFor(m.InScope, v); found && tensorType(v).Equal(want) {
			ref, like, ok = n+".dtype", n, true
			break
		}
	}
	if at, isAttr := m.Device.(*python.Attribute); !ok && isAttr && at.Sel == "device" && m.DeviceOf != nil && tensorType(m.DeviceOf).Equal(want) {
		if n, isPath := path(at.X); isPath {
			ref, like, ok = n+".dtype", n, true
		}
	}
	if !ok && want.Known() {
		if len(want.Roots()) > 0 || !want.HasDefault() {
			ref, ok = nameOf(m.InScope, want)
			like = strings.TrimSuffix(ref, ".dtype")
		}
	}
	if !ok { // promote(x, …): the root that takes part
		for _, r := range want.Roots() {
			if ref, ok = nameOf(m.InScope, dtype.Of(r)); ok {
				like = strings.TrimSuffix(ref, ".dtype")
				break
			}
		}
	}
	if !ok || integerName(ref) && !extended(c.op, c.keep) {
		return castFix(p, c), ""
	}
	call := m.Call
	if m.Called || afterCall[m.Name] || strings.HasSuffix(m.Name, "Tensor") { // torch.FloatTensor takes no dtype=
		return &analysis.Fix{
			Title: "Cast to `" + ref + "`", Safety: analysis.Safe,
			Edits: []analysis.Edit{{Span: python.Span{Start: call.End, End: call.End}, New: ".to(" + ref + ")"}},
		}, like
	}
	at := call.Lparen + 1
	sep := ""
	if n := len(call.Args); n > 0 {
		at, sep = call.Args[n-1].End, ", "
	}
	add := sep + "dtype=" + ref
	if m.Device == nil && !moved(c.part) && device(m.Name) {
		add += ", device=" + like + ".device"
	}
	return &analysis.Fix{
		Title: "Create it with `dtype=" + ref + "`", Safety: analysis.Safe,
		Edits: []analysis.Edit{{Span: python.Span{Start: at, End: at}, New: add}},
	}, like
}

func device(name string) bool { return name != "torch.as_tensor" && name != "torch.asarray" }

// moved reports whether a value was put on a device after its creation.
func moved(v *interp.Value) bool {
	for i := 0; i < 60 && v != nil; i++ {
		switch v.Op {
		case ".to()", ".cuda()", ".cpu()":
			return true
		}
		if v.How != interp.HowKeep || len(v.From) == 0 {
			return false
		}
		v = v.From[0]
	}
	return false
}

// wanted is the dtype that a created tensor should have: that of what it was
// promoted with, else that of what it meets.
func wanted(c *conflict) dtype.Type {
	if c.odd.Value.DType.Promoted() && c.part != c.odd.Value {
		if rs := c.odd.Value.DType.Roots(); len(rs) == 1 {
			return dtype.Of(rs[0])
		}
	}
	return c.keep.Value.DType
}

// nameFor finds the name of a value in scope.
func nameFor(scope interp.Names, v *interp.Value) (string, bool) {
	for n, s := range scope.All() {
		if s == v {
			return n, true
		}
	}
	t, ok := nameOf(scope, tensorType(v))
	return strings.TrimSuffix(t, ".dtype"), ok
}

// promotedFix casts the wide part where it is promoted.
func promotedFix(p *analysis.Pass, c *conflict) *analysis.Fix {
	made := history(c.odd.Value)
	for _, op := range p.Facts.Ops {
		if op.Kind != interp.OpPromotes || op.Scope != c.op.Scope || !made[op.Node] {
			continue
		}
		for i, o := range op.Operands {
			if origin(o.Value) != origin(c.part) {
				continue
			}
			for j, other := range op.Operands {
				if j == i || !other.Value.DType.Known() || len(other.Value.DType.Roots()) == 0 {
					continue
				}
				ref, ok := reference(p, op, other)
				if !ok || integerName(ref) {
					continue
				}
				return &analysis.Fix{Title: "Cast to `" + ref + "`", Safety: analysis.Safe, Edits: castEdit(p, o.Expr, ".to("+ref+")")}
			}
		}
	}
	return castFix(p, c)
}

// history is where a value, and what it comes from, was made.
func history(v *interp.Value) map[python.Node]bool {
	made := map[python.Node]bool{}
	seen := map[*interp.Value]bool{}
	var walk func(v *interp.Value, depth int)
	walk = func(v *interp.Value, depth int) {
		if v == nil || seen[v] || depth > 40 {
			return
		}
		seen[v], made[v.At] = true, true
		for _, f := range v.From {
			walk(f, depth+1)
		}
	}
	walk(v, 0)
	return made
}

func inHistory(v *interp.Value, at python.Node) bool {
	seen := map[*interp.Value]bool{}
	var walk func(v *interp.Value, depth int) bool
	walk = func(v *interp.Value, depth int) bool {
		if v == nil || seen[v] || depth > 40 {
			return false
		}
		seen[v] = true
		if v.At == at {
			return true
		}
		for _, f := range v.From {
			if walk(f, depth+1) {
				return true
			}
		}
		return false
	}
	return walk(v, 0)
}

// statement returns the span that a comment on an expression stands on: the
// statement for a simple one, the expression inside a compound one.
func statement(op *interp.Op) python.Span {
	switch s := op.Stmt.(type) {
	case *python.Assign, *python.ExprStmt, *python.Return, *python.Raise, *python.Assert:
		return s.Pos()
	}
	return op.Node.Pos()
}

// statementOf returns the statement around an offset, as statement does.
func statementOf(p *analysis.Pass, n python.Node) python.Span {
	switch s := p.Tree.StmtAt(n.Pos().Start).(type) {
	case *python.Assign, *python.ExprStmt, *python.Return, *python.Raise, *python.Assert:
		return s.Pos()
	}
	return n.Pos()
}

// floatForm is the float32 form of a projection, shown as code: autocast off,
// float32 from the first product through the division. It is the last
// product's; products that it builds on are inside it.
func floatForm(p *analysis.Pass, c *conflict, all []conflict) []analysis.Form {
	_, last, ok := division(p, c)
	if !ok {
		return nil
	}
	chain := []*conflict{c}
	for i := range all {
		u := &all[i]
		if u.evidence == byGeometry && u.op != c.op && u.op.Scope == c.op.Scope && slices.Contains(c.upstream, u.op.Node.Pos()) {
			chain = append(chain, u)
		}
	}
	sort.Slice(chain, func(i, j int) bool { return chain[i].op.Node.Pos().Start < chain[j].op.Node.Pos().Start })
	var edits []analysis.Edit
	for i, u := range chain {
		if a, ok := u.op.Stmt.(*python.Assign); !ok || len(a.Targets) != 1 || u.op.Autocast.State == interp.AutocastOff {
			return nil
		}
		if i == 0 {
			edits = append(edits, castEdit(p, u.keep.Expr, ".to(dtype)")...)
		}
		edits = append(edits, castEdit(p, u.odd.Expr, ".to(dtype)")...)
	}
	start := chain[0].op.Stmt.Pos().Start
	first := p.Tree.Line(start)
	points, ok := path(base(chain[0].keep.Expr))
	indent := p.Tree.Text(python.Span{Start: p.Tree.LineSpan(first).Start, End: start})
	if !ok || strings.TrimSpace(indent) != "" || last-first > 24 {
		return nil
	}
	end := p.Tree.LineSpan(last).End
	sort.Slice(edits, func(i, j int) bool { return edits[i].Span.Start < edits[j].Span.Start })
	text, at := "", p.Tree.LineSpan(first).Start
	for _, e := range edits {
		if e.Span.Start < at || e.Span.End > end {
			return nil
		}
		text += p.Tree.Source[at:e.Span.Start] + e.New
		at = e.Span.End
	}
	text = strings.TrimRight(text+p.Tree.Source[at:end], "\r\n")
	lines := []string{
		indent + fmt.Sprintf("with torch.autocast(%s.device.type, enabled=False):  # autocast would make it half again", points),
		indent + fmt.Sprintf("    dtype = torch.promote_types(%s.dtype, torch.float32)  # float64 stays float64", points),
	}
	for _, l := range strings.Split(text, "\n") {
		l = strings.TrimSuffix(l, "\r")
		if strings.TrimSpace(l) == "" {
			lines = append(lines, "")
			continue
		}
		if !strings.HasPrefix(l, indent) {
			return nil // the division stands in another block
		}
		lines = append(lines, "    "+l)
	}
	return []analysis.Form{{Title: "If these pixels feed a loss: float32 through the division", First: first, Last: last, Lines: lines}}
}

// productForm is the float32 form of one product that other files make mixed,
// shown as code: both operands in float32, whatever autocast says.
func productForm(p *analysis.Pass, c *conflict) []analysis.Form {
	s := statement(c.op)
	first, last := p.Tree.Lines(s)
	indent := p.Tree.Text(python.Span{Start: p.Tree.LineSpan(first).Start, End: s.Start})
	reference, ok := path(base(c.keep.Expr))
	if !ok || c.op.Kind != interp.OpRefuses || strings.TrimSpace(indent) != "" || last-first > 12 || c.op.Autocast.State != interp.AutocastNone {
		return nil
	}
	switch c.op.Stmt.(type) {
	case *python.Assign, *python.Return:
	default:
		return nil
	}
	edits := append(castEdit(p, c.keep.Expr, ".to(dtype)"), castEdit(p, c.odd.Expr, ".to(dtype)")...)
	sort.Slice(edits, func(i, j int) bool { return edits[i].Span.Start < edits[j].Span.Start })
	text, at := "", p.Tree.LineSpan(first).Start
	for _, e := range edits {
		if e.Span.Start < at || e.Span.End > s.End {
			return nil
		}
		text += p.Tree.Source[at:e.Span.Start] + e.New
		at = e.Span.End
	}
	lines := []string{
		indent + fmt.Sprintf("with torch.autocast(%s.device.type, enabled=False):  # autocast would make it half again", reference),
		indent + fmt.Sprintf("    dtype = torch.promote_types(%s.dtype, torch.float32)  # float64 stays float64", reference),
	}
	for _, l := range strings.Split(strings.TrimRight(text+p.Tree.Source[at:p.Tree.LineSpan(last).End], "\r\n"), "\n") {
		lines = append(lines, "    "+strings.TrimSuffix(l, "\r"))
	}
	return []analysis.Form{{Title: "If it needs float32's digits: the product in float32", First: first, Last: last, Lines: lines}}
}

// directlyFrom is comesFrom with no other product on the way.
func directlyFrom(v *interp.Value, at python.Node) bool {
	for i := 0; i < 40 && v != nil; i++ {
		if v.At == at {
			return true
		}
		if v.How != interp.HowKeep || len(v.From) == 0 {
			return false
		}
		v = v.From[0]
	}
	return false
}

// division finds the lines of the perspective division behind an operation.
func division(p *analysis.Pass, c *conflict) (first, last int, ok bool) {
	for _, d := range p.Facts.Ops {
		if d.Name != "torch.div" || d.Scope != c.op.Scope || len(d.Operands) != 2 {
			continue
		}
		if directlyFrom(d.Operands[0].Value, c.op.Node) && directlyFrom(d.Operands[1].Value, c.op.Node) {
			if a, isAssign := d.Stmt.(*python.Assign); isAssign {
				first, last = p.Tree.Lines(a.Pos())
				return first, last, true
			}
		}
	}
	return 0, 0, false
}
