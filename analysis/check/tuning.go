package check

import (
	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/project"
	"github.com/dtypebot/dtypebot/analysis/rules"
	"github.com/dtypebot/dtypebot/analysis/torch"
)

// An Around is what a change has around the files that are analysed.
type Around struct {
	// Deleted are the texts of the Python files that the change deletes: code that
	// comes from them is moved, not new.
	Deleted []string
	// Tuning is what the repository says of itself.
	Tuning Tuning
	// Index is what is known of the rest of the repository, a project.Index as its
	// Encode writes it; nil if nothing is.
	Index []byte
}

// Options are those of a run over the change's files. An error says that the
// index could not be read; the rest holds.
func (a Around) Options() (Options, error) {
	o := Options{Deleted: a.Deleted}.Tuned(a.Tuning)
	if a.Index == nil {
		return o, nil
	}
	ix, err := project.Decode(a.Index)
	if err != nil {
		return o, err
	}
	o.Project = ix
	return o, nil
}

// torch is the version of PyTorch that the repository runs, as its settings say,
// else as its requirements do; "" if they leave it open.
func (o Options) torch() string {
	if o.Tuning.Torch != "" || o.Project == nil {
		return o.Tuning.Torch
	}
	requirement, _ := o.Project.Torch()
	return project.Major(requirement)
}

// release is the release whose facts hold for that version.
func (o Options) release() string {
	version := o.torch()
	if version == "" {
		return ""
	}
	if t := torch.At(version); t != torch.All() {
		return t.Release()
	}
	return ""
}

// What a Tuning says of a rule, beside a severity.
const (
	RuleOn  = "on" // also of a preview
	RuleOff = "off"
)

// How a mistake in geometry is mended: by the cast, or in float32.
const (
	GeometryCast    = "cast"
	GeometryFloat32 = "float32"
)

// A Tuning is what a repository says of itself beside its code. The zero value
// says nothing.
type Tuning struct {
	// Rules switches rules by name: RuleOn, RuleOff, or the severity that the rule
	// gets. Names that are no rule's mean nothing.
	Rules map[string]string `json:",omitempty"`
	// Compute is the dtype that the repository's models run in: "bfloat16",
	// "float16", "float64" count as a sign of it, "float32" as the word that there
	// is no other; "" leaves it to the signs in the code.
	Compute string `json:",omitempty"`
	// Where is the place of Compute, for the reasons of findings.
	Where    analysis.Reason `json:",omitzero"`
	Torch    string          `json:",omitempty"` // PyTorch's version, e.g. "2.4"; the facts are of the measured release next to it
	Geometry string          `json:",omitempty"` // GeometryCast if empty
}

// Tuned returns the options with what a repository says applied to them.
func (o Options) Tuned(t Tuning) Options {
	o.Tuning = t
	if len(t.Rules) == 0 {
		return o
	}
	if o.Rules == nil {
		o.Rules = rules.All()
		for i := 0; i < len(o.Rules); {
			if r := o.Rules[i]; r.Preview && t.Rules[r.Name] != RuleOn && !severity(t.Rules[r.Name]) {
				o.Rules = append(o.Rules[:i:i], o.Rules[i+1:]...)
				continue
			}
			i++
		}
	}
	var out []*analysis.Rule
	for _, r := range o.Rules {
		switch word := t.Rules[r.Name]; {
		case word == RuleOff:
			continue
		case severity(word):
			changed := *r
			changed.Severity = analysis.Severity(word)
			r = &changed
		}
		out = append(out, r)
	}
	if out == nil {
		out = []*analysis.Rule{} // nil would be all of them
	}
	o.Rules = out
	return o
}

func severity(word string) bool { return analysis.Severity(word).Rank() > 0 }

// signs adds what the repository says to what its code shows.
func (t Tuning) signs(s analysis.Signs) analysis.Signs {
	said := t.Where
	if said.Text == "" {
		said.Text = "the settings say that models run in " + t.Compute
	}
	switch t.Compute {
	case "bfloat16", "float16":
		s.Half = append([]analysis.Reason{said}, s.Half...)
	case "float64":
		s.Double = append([]analysis.Reason{said}, s.Double...)
	case "float32":
		s.Half, s.Double = nil, nil
	}
	return s
}
