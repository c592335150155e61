package check

import (
	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/interp"
)

// maxSigns bounds the signs of one kind in a report; one is enough to believe,
// the rest is for people.
const maxSigns = 20

// signs gathers what the files show about the dtypes that the repository uses
// on purpose, in the order of the units.
func (r *runner) signs(units []*unit) analysis.Signs {
	var all analysis.Signs
	for _, u := range units {
		if u.skip == "" {
			l, _ := get(r.cache, r.cache.learned, u.key())
			all.Half, all.Double = append(all.Half, l.signs.Half...), append(all.Double, l.signs.Double...)
		}
		if len(all.Half) >= maxSigns && len(all.Double) >= maxSigns {
			break
		}
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
