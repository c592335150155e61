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

var halfInputWithoutAutocast = &analysis.Rule{
	Name:     "half-input-without-autocast",
	Severity: analysis.High,
	Doc: `Autocast is switched off, and the input is not cast

A function switches autocast off because its callers use it. What they hand in
is half then, and the module's own parameters and buffers are float32: a matrix
product of the two fails, where autocast would have cast both.

Evidence: autocast is off by enabled=False, and there a parameter of the
function meets a parameter or buffer of the module in an operation that refuses
different dtypes; nothing casts it before (likely). One method of a class calls
a submodule under autocast and another without, and that submodule was made with
a setting whose default is "fp16" or "bf16" (likely).

Fix: the input is cast to the dtype of what it meets. For a submodule the call
is put under autocast as in the other method, shown as code.

Silent where the input is cast, where both come from callers, and where
enabled= is not a literal.
`,
	Run: func(p *analysis.Pass) {
		seen := map[python.Node]bool{}
		for _, op := range p.Facts.Ops {
			if op.Autocast.State != interp.AutocastOff || op.Kind != interp.OpRefuses && op.Kind != interp.OpModule || seen[op.Node] {
				continue
			}
			if c, ok := uncastInput(op); ok {
				seen[op.Node] = true
				reportUncast(p, &c)
			}
		}
		outsideAutocast(p)
	},
}

// uncastInput finds the operand that callers give as it is, and the one that
// belongs to the module.
func uncastInput(op *interp.Op) (conflict, bool) {
	c := conflict{op: op, evidence: byRoot}
	given, own := false, false
	for _, o := range op.Operands {
		if o.Soft || o.Expr == nil {
			continue
		}
		root, ok := o.Value.DType.Root()
		if !ok {
			return c, false
		}
		switch {
		case !given && ofCaller(op.Scope, root.Name):
			c.odd, c.part, given = o, o.Value, true
		case !own && (op.Kind == interp.OpModule && o.Name == "weight" || ofModule(o.Value) || heldByModule(op.Scope, root)):
			c.keep, own = o, true
		}
	}
	return c, given && own
}

// ofCaller reports whether a root is a parameter of the function other than
// self.
func ofCaller(s *interp.Scope, root string) bool {
	if s == nil || s.Def == nil {
		return false
	}
	for i, q := range s.Def.Params {
		if q.Name == root && q.Star == 0 && (i > 0 || s.Class == nil) {
			return true
		}
	}
	return false
}

// ofModule reports whether a value is a parameter or a buffer of a module. Of
// several paths with one root between them, one is enough.
func ofModule(v *interp.Value) bool {
	v = origin(v)
	if v.How == interp.HowJoin || v.How == interp.HowPromote && !v.DType.Promoted() {
		return slices.ContainsFunc(v.From, ofModule)
	}
	return v.How == interp.HowAttr && (v.Op == "torch.nn.Parameter" || v.Op == "register_buffer")
}

// heldByModule reports whether a root is that of a value that the constructor
// of the class makes a parameter or a buffer of.
func heldByModule(s *interp.Scope, root *dtype.Root) bool {
	if s == nil || s.Class == nil || !s.Class.Module {
		return false
	}
	for name, v := range s.Class.Attrs {
		if r, ok := v.Tensor().DType.Root(); ok && r == root && registers(s.Class.Def, name) {
			return true
		}
	}
	return false
}

// registers reports whether a class makes a parameter or a buffer of a name.
func registers(class *python.ClassDef, name string) bool {
	found := false
	python.Inspect(class, func(n python.Node) bool {
		switch n := n.(type) {
		case *python.Call:
			if at, ok := n.Func.(*python.Attribute); ok && at.Sel == "register_buffer" && len(n.Args) > 0 {
				text, isText := n.Args[0].Value.(*python.Str)
				found = found || isText && text.Value == name
			}
		case *python.Assign:
			call, isCall := n.Value.(*python.Call)
			at, isAttr := n.Targets[0].(*python.Attribute)
			found = found || isCall && isAttr && isName(at.X, "self") && at.Sel == name && mentions(call.Func, "Parameter")
		}
		return !found
	})
	return found
}

func reportUncast(p *analysis.Pass, c *conflict) {
	input, own := named(p, c.odd), named(p, c.keep)
	p.Report(analysis.Finding{
		Confidence: analysis.Likely, At: statement(c.op), Scope: scopeName(c),
		Message: fmt.Sprintf("Autocast is off here, which is for callers that use it: %s comes from them in half precision, and %s is float32. %s", input, own, stops(c, exampleDType(p), "there")),
		Because: append(because(p, c), p.Reason(c.op.Autocast.At.Pos(), "autocast is switched off")),
		Fix:     castFix(p, c), Ops: operations(c),
	})
}

// outsideAutocast compares the calls of submodules that a setting makes half.
func outsideAutocast(p *analysis.Pass) {
	type place struct {
		call *python.Call
		def  *python.FuncDef
	}
	half := map[*python.ClassDef]map[string]python.Node{}
	in, out := map[string]place{}, map[string][]place{}
	calls(p, func(call *python.Call, _ python.Stmt, around []python.Node) {
		class, method := classAround(around)
		at, ok := call.Func.(*python.Attribute)
		if class == nil || method == nil || !ok || !isName(at.X, "self") || len(call.Args) != 1 {
			return
		}
		if half[class] == nil {
			half[class] = halfBySetting(p, class)
		}
		if half[class][at.Sel] == nil {
			return
		}
		key := class.Name + "." + at.Sel
		switch {
		case autocast(p, around):
			in[key] = place{call, method}
		case unmoved(call.Args[0].Value):
			out[key] = append(out[key], place{call, method})
		}
	})
	for key, other := range in {
		for _, o := range out[key] {
			if o.def == other.def || castsBefore(p, o.def, p.Tree.Text(o.call.Args[0].Value.Pos())) {
				continue
			}
			name := code(p.Tree.Text(o.call.Func.Pos()))
			p.Report(analysis.Finding{
				Confidence: analysis.Likely, At: statementOf(p, o.call), Scope: scopeOf(p, o.call), Ops: []python.Span{o.call.Pos()},
				Message: fmt.Sprintf("%s has half weights by default, and %s takes %s as it comes. `%s` calls it under autocast (line %d), this does not: a float32 input stops at its first layer.",
					name, name, code(p.Tree.Text(o.call.Args[0].Value.Pos())), other.def.Name, p.Tree.Line(other.call.Start)),
				Because: []analysis.Reason{p.Reason(other.call.Pos(), "called under autocast here"), p.Reason(o.call.Pos(), "and without it here")},
				Forms:   underAutocast(p, o.call),
			})
		}
	}
}

// unmoved reports whether an argument is a plain name.
func unmoved(x python.Expr) bool {
	_, ok := x.(*python.Name)
	return ok
}

// castsBefore reports whether a function casts a name anywhere.
func castsBefore(p *analysis.Pass, d *python.FuncDef, name string) bool {
	found := false
	inBody(d, func(s python.Stmt, _ []python.Node) {
		expressions(p, s, func(n python.Node) {
			if e, ok := n.(python.Expr); ok {
				recv, isCast := castCall(p, e)
				found = found || isCast && isName(recv, name)
			}
		})
	})
	return found
}

// halfBySetting are the attributes that a class's constructor makes with a
// parameter whose default is a half precision.
func halfBySetting(p *analysis.Pass, class *python.ClassDef) map[string]python.Node {
	out := map[string]python.Node{}
	for _, s := range class.Body {
		d, ok := s.(*python.FuncDef)
		if !ok || d.Name != "__init__" {
			continue
		}
		for _, q := range d.Params {
			text, isText := q.Default.(*python.Str)
			if !isText || text.Value != "fp16" && text.Value != "bf16" && text.Value != "float16" && text.Value != "bfloat16" {
				continue
			}
			inBody(d, func(s python.Stmt, _ []python.Node) {
				a, isAssign := s.(*python.Assign)
				if !isAssign || a.Value == nil || len(a.Targets) != 1 {
					return
				}
				call, isCall := a.Value.(*python.Call)
				if !isCall || !takes(call, q.Name) {
					return
				}
				targets := []python.Expr{a.Targets[0]}
				if seq, isSeq := a.Targets[0].(*python.Seq); isSeq {
					targets = seq.Xs
				}
				for _, t := range targets {
					if at, isAttr := t.(*python.Attribute); isAttr && isName(at.X, "self") {
						out[at.Sel] = a
					}
				}
			})
		}
	}
	return out
}

// takes reports whether a call has a name among its arguments.
func takes(call *python.Call, name string) bool {
	for _, a := range call.Args {
		if isName(a.Value, name) {
			return true
		}
	}
	return false
}

// underAutocast shows a call's line under autocast.
func underAutocast(p *analysis.Pass, call *python.Call) []analysis.Form {
	at := statementOf(p, call)
	first, last := p.Tree.Lines(at)
	if first != last {
		return nil
	}
	line := p.Tree.Text(p.Tree.LineSpan(first))
	indent := line[:len(line)-len(strings.TrimLeft(line, " \t"))]
	x := p.Tree.Text(call.Args[0].Value.Pos())
	return []analysis.Form{{Title: "Under autocast", First: first, Last: last, Lines: []string{
		indent + fmt.Sprintf("with torch.autocast(%s.device.type):", x),
		"    " + strings.TrimRight(line, "\r\n"),
	}}}
}
