package rules

import (
	"fmt"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/python"
)

var autocastDTypeGetter = &analysis.Rule{
	Name:     "autocast-dtype-getter",
	Severity: analysis.Low,
	Doc: `Autocast's dtype is asked for one device

torch.get_autocast_gpu_dtype() is about CUDA whatever device the tensors are on,
says float16 even when autocast is off, and is deprecated since PyTorch 2.4.
torch.get_autocast_cpu_dtype() is the same about the CPU.

Evidence: the call itself (possible: it is listed and never commented on).

Fix: none is offered, because torch.get_autocast_dtype(x.device.type) does not
exist before PyTorch 2.4. It belongs inside
if torch.is_autocast_enabled(x.device.type). Most code need not ask: autocast
casts the inputs of matrix products by itself.

Silent for functions of another module with the same name.
`,
	Run: func(p *analysis.Pass) {
		statements(p, func(s python.Stmt, around []python.Node) {
			expressions(p, s, func(n python.Node) {
				c, ok := n.(*python.Call)
				if !ok {
					return
				}
				if name := getter(p, c); name != "" {
					p.Report(analysis.Finding{
						Confidence: analysis.Possible, At: c.Pos(),
						Message: fmt.Sprintf("%s is deprecated and knows one device only; it names a dtype even when autocast is off. From PyTorch 2.4 on, `torch.get_autocast_dtype(x.device.type)` inside `if torch.is_autocast_enabled(x.device.type)` asks for the device at hand.", code(name)),
						Because: []analysis.Reason{p.Reason(c.Pos(), fmt.Sprintf("%s answers for one device, with autocast on or off", code(name)))},
					})
				}
			})
		})
	},
}

// getter returns the call in PyTorch's words if a call asks for autocast's dtype.
func getter(p *analysis.Pass, c *python.Call) string {
	v := p.Facts.Values[c]
	if v == nil || v.Kind != interp.KindDType {
		return ""
	}
	r, ok := v.DType.Root()
	if ok && (r.Name == "torch.get_autocast_gpu_dtype()" || r.Name == "torch.get_autocast_cpu_dtype()") {
		return r.Name
	}
	return ""
}
