package rules

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/dtype"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var scalerWithHalfParameters = &analysis.Rule{
	Name:     "scaler-with-half-parameters",
	Severity: analysis.High,
	Preview:  true, // seen in no project yet
	Doc: `GradScaler steps an optimizer whose parameters are float16

GradScaler keeps small gradients from becoming 0 in float16 and unscales them in
float32, so it wants float32 parameters: those of a model after .half() have
float16 gradients, and the first step stops with "Attempting to unscale FP16
gradients."

Evidence: in one function a model is cast to float16, an optimizer of torch.optim
takes its parameters(), and a GradScaler that is switched on steps or unscales
that optimizer wherever the cast happens (certain).

Fix: the model stays float32, and autocast chooses float16 for what is faster so.
Shown as code, since the forward pass needs autocast then.

Silent for bfloat16, which needs no scaler and is not refused; for scalers with
enabled=; for optimizers of other libraries, which may keep float32 copies; and
where the model is cast back.
`,
	Run: func(p *analysis.Pass) {
		for _, b := range bodies(p) {
			halfParameters(p, b)
		}
	},
}

// A halfModel is a cast of a model to float16.
type halfModel struct {
	name string
	call *python.Call
	in   []branch
}

// training is what one body does with models, optimizers and scalers.
type training struct {
	half       []halfModel
	wide       map[string]bool         // models that are cast to another dtype too
	optimizers map[string]*python.Call // by name
	scalers    map[string]*python.Call
	steps      []step // scaler.step(optimizer), scaler.unscale_(optimizer)
}

// halfParameters looks at the body of one function.
func halfParameters(p *analysis.Pass, body []python.Stmt) {
	t := training{wide: map[string]bool{}, optimizers: map[string]*python.Call{}, scalers: map[string]*python.Call{}}
	branches(body, nil, func(s python.Stmt, in []branch) {
		target := ""
		if a, ok := s.(*python.Assign); ok && a.Op == "" && len(a.Targets) == 1 {
			target, _ = path(a.Targets[0])
		}
		expressions(p, s, func(n python.Node) {
			if call, ok := n.(*python.Call); ok {
				t.take(p, call, s, in, target)
			}
		})
	})
	for _, m := range t.half {
		if t.wide[m.name] {
			continue
		}
		for _, s := range t.steps {
			optimizer, _ := path(s.call.Args[0].Value)
			made := t.optimizers[optimizer]
			if made == nil || t.scalers[s.scaler] == nil || !parametersOf(made, m.name) || !implied(p, m.in, s.in) {
				continue
			}
			reportHalfParameters(p, m, made, s)
			break
		}
	}
}

// take notes what one call does. target is what its statement assigns, "" if it
// assigns nothing.
func (t *training) take(p *analysis.Pass, call *python.Call, s python.Stmt, in []branch, target string) {
	name := library(p, call.Func)
	switch {
	case strings.HasPrefix(name, "torch.optim.") && target != "":
		t.optimizers[target] = call
		return
	case name == "torch.cuda.amp.GradScaler" || name == "torch.amp.GradScaler":
		if argument(call, "enabled") == nil && target != "" {
			t.scalers[target] = call
		}
		return
	}
	at, ok := call.Func.(*python.Attribute)
	if !ok {
		return
	}
	of, isPath := path(at.X)
	if isPath && (at.Sel == "step" || at.Sel == "unscale_") && len(call.Args) > 0 && call.Args[0].Name == "" {
		t.steps = append(t.steps, step{call: call, stmt: s, in: in, scaler: of})
		return
	}
	recv, isCast := castCall(p, call)
	if !isCast {
		return
	}
	name = of // model.half() casts in place
	if !isPath {
		name = target // model = Model().half()
	}
	if _, to := castToHalf(p, call); to != dtype.Float16 {
		t.wide[name] = true
	} else if v := p.Facts.Values[recv]; name != "" && !isTensor(v) {
		t.half = append(t.half, halfModel{name: name, call: call, in: in})
	}
}

// parametersOf reports whether an optimizer is made of a model's parameters().
func parametersOf(optimizer *python.Call, model string) bool {
	found := false
	python.Inspect(optimizer, func(n python.Node) bool {
		call, ok := n.(*python.Call)
		if !ok {
			return !found
		}
		at, isMethod := call.Func.(*python.Attribute)
		if isMethod && at.Sel == "parameters" {
			of, _ := path(at.X)
			found = found || of == model
		}
		return !found
	})
	return found
}

// implied reports whether the conditions around one place stand around another
// too, there or once more: what happens there happened here before.
func implied(p *analysis.Pass, here, there []branch) bool {
	for _, b := range here {
		if !slices.ContainsFunc(there, func(o branch) bool { return o.orElse == b.orElse && sameText(p, o.of.Cond, b.of.Cond) }) {
			return false
		}
	}
	return true
}

func reportHalfParameters(p *analysis.Pass, m halfModel, optimizer *python.Call, s step) {
	recv := receiver(m.call)
	f := analysis.Finding{
		Confidence: analysis.Certain, At: statementOf(p, m.call), Scope: scopeOf(p, m.call), Ops: []python.Span{s.call.Pos()},
		Message: fmt.Sprintf("%s makes the parameters of %s float16, and so are their gradients. GradScaler wants float32 ones; PyTorch stops in line %d: `Attempting to unscale FP16 gradients.`",
			code(p.Tree.Text(m.call.Pos())), code(m.name), p.Tree.Line(s.call.Start)),
		Because: []analysis.Reason{
			p.Reason(m.call.Pos(), fmt.Sprintf("%s is float16 from here on", code(m.name))),
			p.Reason(optimizer.Pos(), "the optimizer takes its parameters"),
			p.Reason(s.call.Pos(), fmt.Sprintf("%s unscales their gradients", code(p.Tree.Text(s.call.Func.Pos())))),
		},
	}
	if len(m.call.Args) < 2 {
		f.Fix = &analysis.Fix{
			Title: "Leave it in float32 and use autocast", Safety: analysis.Unsafe,
			Edits: []analysis.Edit{{Span: python.Span{Start: recv.Pos().End, End: m.call.End}}},
		}
	}
	p.Report(f)
}
