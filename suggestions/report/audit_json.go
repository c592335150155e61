package report

import (
	"encoding/json"
	"fmt"
	"io"
)

// AuditJSON writes an audit as one JSON document. Lines are 1-based and of the
// files as they are; texts are Markdown; lists are never null:
//
//	{"version": 1, "name": "…", "engine": "…",
//	 "summary": {"files": 11, "high": 7, "medium": 0, "low": 0, "possible": 0, "fixes": 5,
//	             "signs": [PLACE]},                         where half precision is used
//	 "findings": [{"title": "…", "rule": "…", "priority": "HIGH|MEDIUM|LOW", "about": "…",
//	               "entries": [PLACE + {"confidence": "certain|likely|possible", "issue": "…",
//	                           "fix": 1, "because": [{"path": "…", "line": 9, "text": "…"}]}]}],
//	 "good_practice": [PLACE],
//	 "fixes": [{"number": 1, "path": "…", "start_line": 92, "end_line": 107, "safety": "safe|unsafe|display",
//	            "old": ["…"], "new": ["…"], "note": "…",
//	            "alternatives": [{"title": "…", "start_line": 92, "end_line": 107, "replacement": ["…"]}]}],
//	 "recommendations": [{"title": "…", "text": "…", "code": ["…"], "exceptions": ["…"]}],
//	 "priorities": [{"priority": "HIGH", "items": ["…"]}],
//	 "testing": ["…"], "tests": "the text of a Python file, or empty",
//	 "skipped": [{"path": "…", "reason": "…"}], "remarks": [PLACE]}
//
// PLACE is {"path": "…", "start_line": 92, "end_line": 92, "scope": "…", "text": "…"}. rule is
// missing for lists that are no rule's; fix is the number of a fix, and missing
// where there is none; start_line is 0 for a whole file.
func AuditJSON(w io.Writer, a Audit) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(a); err != nil {
		return fmt.Errorf("write JSON audit: %w", err)
	}
	return nil
}
