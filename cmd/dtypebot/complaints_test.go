package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// complaints are what people say of other review bots, by the numbers that the
// design gives them, and the tests that keep this one from it.
var complaints = []struct {
	number int
	what   string
	tests  string // "package: Test Test; package: Test"
}{
	{1, "one bad line loses the whole review", "bot/github: TestBadAnchorsCostOnlyThemselves TestAnchorsAreTaken"},
	{2, "the same comments again on every push", "bot/github: TestLife TestTwins TestRenamedFile TestCrashBetweenReviewAndCheckRun"},
	{3, "noise: comments on what is fine, and about the bot itself", "bot/github: TestCalls TestSettings; bot: TestComposeHolds"},
	{4, "threads that nobody resolves, and a bot that says it did", "bot/github: TestGone TestGoneAndForbidden TestBack"},
	{5, "a check that is expected for ever after a missed webhook", "bot/recovery: TestDeliveries TestSweep; bot/github: TestOrders"},
	{6, "a merge queue that hangs", "bot/github: TestMergeGroup"},
	{7, "events lost on a restart or behind bulk work", "cmd/dtypebot: TestServeKilledReview TestServeKilled; bot/queue: TestDeadCommand"},
	{8, "more than fifty annotations, and none is shown", "bot/github: TestAnnotationsArePaged TestAnnotationsAreCounted"},
	{9, "a re-run button that is dead on forks", "bot/github: TestRerunOfAFork; bot/webhook: TestDecode"},
	{10, "large pull requests looked at in part, in silence", "bot/github: TestManyFilesCalls TestPatchesLeftOut TestManyThreads TestSkippedIsNeverGreen"},
	{11, "a review of a head that is gone", "bot/github: TestHeadMovesBeforePosting TestHeadThatMoves"},
	{12, "suggestions that damage code", "suggestions: TestProofRefuses TestLineEnds TestMarkdownContainsHostileText TestSuggestionMayNotSpanTwoHunks"},
	{13, "rate limits run into, and loops", "bot/github: TestLimits TestLimitsAreHandedBack; bot/webhook: TestDecode"},
	{14, "a slow handler, and requests refused again and again", "bot/webhook: TestAnswers TestSlowBody; bot/github: TestAnnotationsRefused TestReviewsNotPermitted"},
	{15, "errors of suspended installations; a server's address that is lost", "bot/github: TestStates TestTokenRefused TestOneTokenPerInstallation TestEnterpriseServer"},
}

func TestComplaints(t *testing.T) {
	known := make(map[string][]string) // tests by package
	for i, c := range complaints {
		if c.number != i+1 {
			t.Errorf("complaint %d stands in the place of %d", c.number, i+1)
		}
		for part := range strings.SplitSeq(c.tests, "; ") {
			pkg, names, _ := strings.Cut(part, ": ")
			if known[pkg] == nil {
				known[pkg] = testsOf(t, filepath.Join("..", "..", filepath.FromSlash(pkg)))
			}
			for name := range strings.FieldsSeq(names) {
				if !slices.Contains(known[pkg], name) {
					t.Errorf("complaint %d (%s): %s has no %s", c.number, c.what, pkg, name)
				}
			}
		}
	}
}

// testsOf lists the test functions of a folder.
func testsOf(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(fn.Name.Name, "Test") {
				names = append(names, fn.Name.Name)
			}
		}
	}
	return names
}
