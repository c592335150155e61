package rules

import "embed"

//go:embed testdata/*.txtar
var fixtures embed.FS

//go:generate go run ../../cmd/dtypebot rules --pages doc

// Fixture returns the fixture of a rule in txtar form: "example.py" with the
// mistake, "example.py.fixed" after its fixes, and "clean*.py", about which the
// rule is silent. It is what the tests run and what the rule's page shows.
func Fixture(name string) ([]byte, bool) {
	data, err := fixtures.ReadFile("testdata/" + name + ".txtar")
	return data, err == nil
}
