package check

import (
	"strings"
	"unicode"

	"github.com/dtypebot/dtypebot/analysis/python"
)

// A side is what one file of the change contributes to the question which lines
// are new.
type side struct {
	head, base             string
	headPlaces, basePlaces []place // basePlaces are nil for an added file
	whole                  bool    // no diff: every line is new, and none moved
	added                  bool    // every line is added
	addedLines             []int
}

// A tally is a multiset of texts.
type tally map[string]int

// take removes one of a text and reports whether there was one.
func (t tally) take(text string) bool {
	if t[text] <= 0 {
		return false
	}
	t[text]--
	return true
}

// news returns, for each file, which head lines are really new; index 0 is
// unused. Lines taken from a removed one, in this file or another, and lines of
// statements that only changed their layout are not. deleted are the texts of
// files that are gone.
func news(sides []side, deleted []string, parse func(string) *python.File) [][]bool {
	fresh := make([][]bool, len(sides))
	removedLines := make([]tally, len(sides), len(sides)+len(deleted))
	for i := range sides {
		s := &sides[i]
		n := lineCount(s.head)
		fresh[i] = make([]bool, n+1)
		if s.whole || s.added {
			for l := 1; l <= n; l++ {
				fresh[i][l] = true
			}
		}
		for _, l := range s.addedLines {
			if l >= 1 && l <= n {
				fresh[i][l] = true
			}
		}
		removedLines[i] = tally{}
		if s.whole || s.added {
			continue
		}
		// The head lines that are not added are the base lines that stayed;
		// what is over are the removed ones, whatever diff tool paired them.
		for text := range strings.Lines(s.base) {
			removedLines[i][squeeze(text)]++
		}
		l := 0
		for text := range strings.Lines(s.head) {
			if l++; !fresh[i][l] {
				removedLines[i].take(squeeze(text))
			}
		}
	}
	var deletedPlaces [][]place
	for _, text := range deleted {
		t := tally{}
		for line := range strings.Lines(text) {
			t[squeeze(line)]++
		}
		removedLines = append(removedLines, t)
		if tree := parse(text); tree != nil {
			deletedPlaces = append(deletedPlaces, places(tree))
		}
	}
	// A line of the file itself is the more likely origin, so each file takes
	// from its own before it takes from the others.
	for pass := range 2 {
		var pool tally
		if pass == 1 {
			pool = merge(removedLines)
		}
		for i := range sides {
			if sides[i].whole {
				continue
			}
			from := pool
			if pass == 0 {
				from = removedLines[i]
			}
			l := 0
			for text := range strings.Lines(sides[i].head) {
				l++
				if !fresh[i][l] {
					continue
				}
				s := squeeze(text)
				if s == "" || from.take(s) {
					fresh[i][l] = false
				}
			}
		}
	}
	relaid(sides, fresh, deletedPlaces)
	return fresh
}

// relaid clears the lines of statements that stand in the base with another
// layout.
func relaid(sides []side, fresh [][]bool, deleted [][]place) {
	left := make([]tally, len(sides), len(sides)+len(deleted))
	moved := make([][]int, len(sides)) // indices of head statements with new lines
	for i := range sides {
		left[i] = tally{}
		if sides[i].whole {
			continue
		}
		for _, p := range sides[i].basePlaces {
			left[i][p.text]++
		}
		for j, p := range sides[i].headPlaces {
			if anyLine(fresh[i], p.first, p.last) {
				moved[i] = append(moved[i], j)
			} else {
				left[i].take(p.text)
			}
		}
	}
	for _, list := range deleted {
		t := tally{}
		for _, p := range list {
			t[p.text]++
		}
		left = append(left, t)
	}
	same := make([]map[int]bool, len(sides))
	for pass := range 2 {
		var pool tally
		if pass == 1 {
			pool = merge(left)
		}
		for i := range sides {
			from := pool
			if pass == 0 {
				same[i] = map[int]bool{}
				from = left[i]
			}
			for _, j := range moved[i] {
				if !same[i][j] && from.take(sides[i].headPlaces[j].text) {
					same[i][j] = true
				}
			}
		}
	}
	for i := range sides {
		// A line may hold several statements; it stays new if one of them is.
		changed := map[int]bool{}
		for _, j := range moved[i] {
			if p := sides[i].headPlaces[j]; !same[i][j] {
				for l := p.first; l <= p.last; l++ {
					changed[l] = true
				}
			}
		}
		for j := range same[i] {
			p := sides[i].headPlaces[j]
			for l := p.first; l <= p.last && l < len(fresh[i]); l++ {
				if !changed[l] {
					fresh[i][l] = false
				}
			}
		}
	}
}

func merge(list []tally) tally {
	all := tally{}
	for _, t := range list {
		for text, n := range t {
			if n > 0 {
				all[text] += n
			}
		}
	}
	return all
}

func anyLine(set []bool, first, last int) bool {
	for l := max(first, 1); l <= last && l < len(set); l++ {
		if set[l] {
			return true
		}
	}
	return false
}

func lineCount(text string) int {
	n := strings.Count(text, "\n")
	if text != "" && !strings.HasSuffix(text, "\n") {
		n++
	}
	return n
}

// squeeze drops all white space, so that a line moved to another depth is equal
// to itself.
func squeeze(line string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '\ufeff' {
			return -1
		}
		return r
	}, line)
}
