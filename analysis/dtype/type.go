package dtype

import (
	"slices"
	"sort"
	"strings"
)

// A RootClass says what is known of a root's category.
type RootClass uint8

// The classes of roots.
const (
	Open     RootClass = iota // could be of any category
	Floating                  // a real floating-point dtype
	Integer                   // an integer dtype, not bool
)

// A Root is the unknown dtype of one definition: a parameter, an attribute at
// one assignment, a module's parameters. Two values with equal roots have equal
// dtypes whatever they are, and that is what keeps good code silent. Roots are
// compared by identity.
type Root struct {
	ID    int    // unique within one evaluation; gives the canonical order
	Name  string // as it is written in the code: "points", "self.weight"
	Class RootClass
}

// An alt is one alternative: the promotion of all its parts. The zero alt is
// the neutral element and never stands in a Type.
type alt struct {
	unknown bool
	exact   DType   // None if no exact dtype takes part
	deflt   bool    // the default dtype takes part
	roots   []*Root // sorted by ID, distinct
}

// MaxAlternatives is how many alternatives a Type holds before it is Unknown.
const MaxAlternatives = 8

// A Type is what is known of one value's dtype: a set of alternatives. The zero
// Type has none and stands for "unreachable" or "not a tensor".
type Type struct{ alts []alt }

// Unknown is the type about which nothing is known. It never alarms.
var Unknown = Type{[]alt{{unknown: true}}}

// Default is the dtype that torch.get_default_dtype() gives: float32 in nearly
// every program, but a program may change it.
var Default = Type{[]alt{{deflt: true}}}

// Exact returns the type of exactly one dtype; None gives Unknown.
func Exact(d DType) Type {
	if d == None {
		return Unknown
	}
	return Type{[]alt{{exact: d}}}
}

// Of returns the type "the dtype of root r".
func Of(r *Root) Type { return Type{[]alt{{roots: []*Root{r}}}} }

// Empty reports whether there are no alternatives.
func (t Type) Empty() bool { return len(t.alts) == 0 }

// IsUnknown reports whether nothing is known on some alternative.
func (t Type) IsUnknown() bool {
	return slices.ContainsFunc(t.alts, func(a alt) bool { return a.unknown })
}

// Known reports whether there are alternatives and all are known.
func (t Type) Known() bool { return len(t.alts) > 0 && !t.IsUnknown() }

// Exact returns the dtype if it is one exact dtype on every path.
func (t Type) Exact() (DType, bool) {
	if len(t.alts) == 1 && t.alts[0].exactOnly() {
		return t.alts[0].exact, true
	}
	return None, false
}

// Exacts returns the dtypes if every alternative is exact.
func (t Type) Exacts() ([]DType, bool) {
	var out []DType
	for _, a := range t.alts {
		if !a.exactOnly() {
			return nil, false
		}
		out = append(out, a.exact)
	}
	return out, len(out) > 0
}

// IsDefault reports whether it is the default dtype on every path.
func (t Type) IsDefault() bool {
	return len(t.alts) == 1 && t.alts[0].deflt && t.alts[0].exact == None && len(t.alts[0].roots) == 0
}

// Root returns the root if the type is the dtype of exactly one root.
func (t Type) Root() (*Root, bool) {
	if len(t.alts) == 1 {
		if a := t.alts[0]; !a.unknown && !a.deflt && a.exact == None && len(a.roots) == 1 {
			return a.roots[0], true
		}
	}
	return nil, false
}

// Roots returns all the roots that take part in any alternative, by ID.
func (t Type) Roots() []*Root {
	var out []*Root
	for _, a := range t.alts {
		out = mergeRoots(out, a.roots)
	}
	return out
}

// HasDefault reports whether the default dtype takes part in some alternative.
func (t Type) HasDefault() bool {
	return slices.ContainsFunc(t.alts, func(a alt) bool { return a.deflt })
}

// Promoted reports whether some alternative is a promotion of several parts.
func (t Type) Promoted() bool {
	return slices.ContainsFunc(t.alts, func(a alt) bool {
		n := len(a.roots)
		if a.exact != None {
			n++
		}
		if a.deflt {
			n++
		}
		return n > 1
	})
}

// Widened reports whether some alternative promotes a root with an exact dtype
// or the default one.
func (t Type) Widened() bool {
	return slices.ContainsFunc(t.alts, func(a alt) bool { return len(a.roots) > 0 && (a.deflt || a.exact != None) })
}

// Alternatives returns each alternative as a Type of its own.
func (t Type) Alternatives() []Type {
	out := make([]Type, len(t.alts))
	for i, a := range t.alts {
		out[i] = Type{[]alt{a}}
	}
	return out
}

// A Part is what takes part in the promotion that one alternative is.
type Part struct {
	Exact   DType // None if no exact dtype takes part
	Default bool
	Roots   []*Root
}

// Parts returns what each alternative is made of, nil if one is unknown.
func (t Type) Parts() []Part {
	if !t.Known() {
		return nil
	}
	out := make([]Part, len(t.alts))
	for i, a := range t.alts {
		out[i] = Part{Exact: a.exact, Default: a.deflt, Roots: a.roots}
	}
	return out
}

// Equal reports whether both hold the same alternatives.
func (t Type) Equal(u Type) bool { return slices.EqualFunc(t.alts, u.alts, alt.equal) }

// Join is the union of the alternatives: what is known where two paths meet.
// More than MaxAlternatives, or one unknown, make it Unknown.
func Join(ts ...Type) Type {
	var out []alt
	for _, t := range ts {
		for _, a := range t.alts {
			if a.unknown {
				return Unknown
			}
			out = insertAlt(out, a)
		}
	}
	if len(out) > MaxAlternatives {
		return Unknown
	}
	return Type{out}
}

// Combine is torch.promote_types on types: the promotion of every pair of
// alternatives. It ignores ranks; ResultOf is the rule for operands.
func Combine(a, b Type) Type {
	if a.Empty() {
		return b
	}
	if b.Empty() {
		return a
	}
	var out []alt
	for _, x := range a.alts {
		for _, y := range b.alts {
			p := promoteAlt(x, y)
			if p.unknown {
				return Unknown
			}
			out = insertAlt(out, p)
		}
	}
	if len(out) > MaxAlternatives {
		return Unknown
	}
	return Type{out}
}

// Categories returns the lowest and highest category over all alternatives.
// An open root counts as floating: code that mixes it with floats treats it so.
func (t Type) Categories() (low, high Category) {
	for i, a := range t.alts {
		c := a.category()
		if i == 0 || c < low {
			low = c
		}
		if c > high {
			high = c
		}
	}
	return low, high
}

// Map applies f to every alternative and joins the results.
func (t Type) Map(f func(Type) Type) Type {
	out := make([]Type, 0, len(t.alts))
	for _, a := range t.alts {
		out = append(out, f(Type{[]alt{a}}))
	}
	return Join(out...)
}

// Substitute replaces roots by types: get returns the replacement and whether
// there is one.
func (t Type) Substitute(get func(*Root) (Type, bool)) Type {
	if len(t.Roots()) == 0 {
		return t
	}
	var out []Type
	for _, a := range t.alts {
		rest := alt{unknown: a.unknown, exact: a.exact, deflt: a.deflt}
		acc := Type{}
		if rest.unknown || rest.exact != None || rest.deflt {
			acc = Type{[]alt{rest}}
		}
		for _, r := range a.roots {
			if u, ok := get(r); ok {
				acc = Combine(acc, u)
			} else {
				acc = Combine(acc, Of(r))
			}
		}
		out = append(out, acc)
	}
	return Join(out...)
}

// In returns the dtypes that the alternatives have in a world: an assignment of
// dtypes to roots and to the default dtype. The second result is false when an
// alternative is unknown or a root has no dtype there.
func (t Type) In(root func(*Root) DType, deflt DType) ([]DType, bool) {
	var out []DType
	for _, a := range t.alts {
		if a.unknown {
			return nil, false
		}
		d := Bool // neutral
		if a.exact != None {
			d = a.exact
		}
		if a.deflt {
			d = Promote(d, deflt)
		}
		for _, r := range a.roots {
			x := root(r)
			if x == None {
				return nil, false
			}
			d = Promote(d, x)
		}
		if !slices.Contains(out, d) {
			out = append(out, d)
		}
	}
	return out, len(out) > 0
}

// String returns the alternatives joined by "|": PyTorch's names, "default",
// "of:NAME" for a root, "promote(…)" for a promotion, "unknown".
func (t Type) String() string {
	if t.Empty() {
		return "none"
	}
	return strings.Join(t.Strings(), "|")
}

// Strings returns each alternative as String prints it.
func (t Type) Strings() []string {
	out := make([]string, len(t.alts))
	for i, a := range t.alts {
		out[i] = a.String()
	}
	return out
}

// Promotes returns what is promoted where the only alternative is a promotion, as
// String prints it: "of:x", "default", "float32". It is nil otherwise.
func (t Type) Promotes() []string {
	if len(t.alts) != 1 || !t.Promoted() {
		return nil
	}
	return t.alts[0].parts()
}

// A Relation is what is known of two dtypes.
type Relation uint8

// The relations. Apart holds when no pair of alternatives is provably equal or
// unknown but some depend on roots; Differ when all are exact or default and
// unequal under the usual float32 default.
const (
	Undecided Relation = iota // some pair is equal and some not, or one is unknown
	Same                      // equal on every pair
	Apart                     // distinct definitions on every pair: they differ for some inputs
	Differ                    // different dtypes on every pair
)

// Relate compares two types over all pairs of alternatives.
func Relate(a, b Type) Relation {
	if !a.Known() || !b.Known() {
		return Undecided
	}
	same, apart, differ := 0, 0, 0
	for _, x := range a.alts {
		for _, y := range b.alts {
			switch {
			case x.equal(y):
				same++
			case x.closed() && y.closed():
				if x.closedDType() == y.closedDType() {
					same++
				} else {
					differ++
				}
			default:
				apart++
			}
		}
	}
	switch {
	case same > 0 && apart+differ == 0:
		return Same
	case same > 0:
		return Undecided
	case apart == 0:
		return Differ
	}
	return Apart
}

// closed reports whether the alternative has a dtype without knowing any root.
func (a alt) closed() bool { return !a.unknown && len(a.roots) == 0 }

// closedDType takes the default dtype as float32.
func (a alt) closedDType() DType {
	if !a.deflt {
		return a.exact
	}
	if a.exact == None {
		return Float32
	}
	return Promote(a.exact, Float32)
}

func (a alt) exactOnly() bool { return !a.unknown && !a.deflt && len(a.roots) == 0 && a.exact != None }

func (a alt) equal(b alt) bool {
	return a.unknown == b.unknown && a.exact == b.exact && a.deflt == b.deflt && slices.Equal(a.roots, b.roots)
}

func (a alt) category() Category {
	c := a.exact.Category()
	if a.unknown || a.deflt {
		c = max(c, CatFloat)
	}
	for _, r := range a.roots {
		if r.Class == Integer {
			c = max(c, CatInt)
		} else {
			c = max(c, CatFloat)
		}
	}
	return c
}

// String: see Type.String.
func (a alt) String() string {
	if a.unknown {
		return "unknown"
	}
	parts := a.parts()
	if len(parts) == 1 {
		return parts[0]
	}
	return "promote(" + strings.Join(parts, ",") + ")"
}

// parts are what the alternative promotes.
func (a alt) parts() (parts []string) {
	for _, r := range a.roots {
		parts = append(parts, "of:"+r.Name)
	}
	if a.deflt {
		parts = append(parts, "default")
	}
	if a.exact != None {
		parts = append(parts, a.exact.String())
	}
	return parts
}

// promoteAlt promotes two alternatives of whatever category. A part of a lower
// category is absorbed: an int never widens a float.
func promoteAlt(a, b alt) alt {
	if a.unknown || b.unknown {
		return alt{unknown: true}
	}
	ca, cb := a.category(), b.category()
	if ca != cb && ca >= CatFloat && cb >= CatFloat && a.exactOnly() && b.exactOnly() { // a complex number as wide as the float
		return alt{exact: Promote(a.exact, b.exact)}
	}
	if ca < cb && !a.open() {
		return b
	}
	if cb < ca && !b.open() {
		return a
	}
	out := alt{deflt: a.deflt || b.deflt, roots: mergeRoots(a.roots, b.roots)}
	switch {
	case a.exact == None:
		out.exact = b.exact
	case b.exact == None:
		out.exact = a.exact
	default:
		if out.exact = Promote(a.exact, b.exact); out.exact == None {
			return alt{unknown: true}
		}
	}
	if out.exact != None && out.exact.Category() < CatFloat && out.floats() || out.exact == Bool && len(out.roots) > 0 {
		out.exact = None // absorbed by a part of a higher category
	}
	return out
}

// floats reports whether a part that is not exact counts as floating.
func (a alt) floats() bool {
	return a.deflt || slices.ContainsFunc(a.roots, func(r *Root) bool { return r.Class != Integer })
}

// open reports whether a root of unknown category takes part, which may turn
// out to be of a higher category than it counts for.
func (a alt) open() bool {
	return slices.ContainsFunc(a.roots, func(r *Root) bool { return r.Class == Open })
}

func mergeRoots(a, b []*Root) []*Root {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	out := append(slices.Clone(a), b...)
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return slices.Compact(out)
}

// insertAlt adds an alternative to a sorted set.
func insertAlt(set []alt, a alt) []alt {
	i, found := sort.Find(len(set), func(i int) int { return a.compare(set[i]) })
	if found {
		return set
	}
	return slices.Insert(slices.Clone(set), i, a)
}

// compare is a total order on alternatives, so that equal sets are equal slices.
func (a alt) compare(b alt) int {
	switch {
	case a.unknown != b.unknown:
		return boolInt(a.unknown) - boolInt(b.unknown)
	case a.deflt != b.deflt:
		return boolInt(a.deflt) - boolInt(b.deflt)
	case a.exact != b.exact:
		return int(a.exact) - int(b.exact)
	}
	return slices.CompareFunc(a.roots, b.roots, func(x, y *Root) int { return x.ID - y.ID })
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
