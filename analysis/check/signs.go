package check

import (
	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
	"github.com/dtypebot/dtypebot/analysis/project"
)

// maxSigns bounds the signs of one kind in a report; one is enough to believe,
// the rest is for people.
const maxSigns = 20

// signs gathers what the files show about the dtypes that the repository uses
// on purpose.
func signs(units []*unit) analysis.Signs {
	parts := make([]analysis.Signs, len(units))
	each(units, func(u *unit) {
		for i := range units {
			if units[i] == u {
				half, double := project.Signs(u.file.Path, u.tree)
				parts[i] = analysis.Signs{Half: reasons(half), Double: reasons(double)}
			}
		}
	})
	var all analysis.Signs
	for _, p := range parts {
		all.Half = append(all.Half, p.Half...)
		all.Double = append(all.Double, p.Double...)
	}
	all.Half = all.Half[:min(len(all.Half), maxSigns)]
	all.Double = all.Double[:min(len(all.Double), maxSigns)]
	return all
}

// reasons are places of other files as steps of a chain of reasons.
func reasons(list []interp.Place) []analysis.Reason {
	var out []analysis.Reason
	for _, p := range list {
		out = append(out, analysis.Reason{Path: p.Path, Line: p.Line, Text: p.Text})
	}
	return out
}
