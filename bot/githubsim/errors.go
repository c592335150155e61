package githubsim

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// obj is a JSON object under construction.
type obj map[string]any

// encode writes JSON as GitHub does: <, > and & stay as they are.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encode JSON: %w", err)
	}
	return trimNewline(b.Bytes()), nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

const docs = "https://docs.github.com/"

// refuse is an error answer with a message alone.
func refuse(status int, message, page string) reply {
	return reply{status: status, value: obj{
		"message": message, "documentation_url": docs + strings.TrimPrefix(page, "/"), "status": fmt.Sprint(status),
	}}
}

func notFound() reply { return refuse(http.StatusNotFound, "Not Found", "rest") }

// A fieldError is an entry of a 422's errors, one of GitHub's codes: missing,
// missing_field, invalid, already_exists, unprocessable, custom.
type fieldError struct{ Resource, Code, Field, Message string }

func (e fieldError) json() obj {
	o := obj{"resource": e.Resource, "code": e.Code, "field": e.Field}
	if e.Message != "" {
		o["message"] = e.Message
	}
	return o
}

// invalid is GitHub's "Validation Failed".
func invalid(page string, errs ...fieldError) reply {
	list := make([]any, 0, len(errs))
	for _, e := range errs {
		list = append(list, e.json())
	}
	return reply{status: http.StatusUnprocessableEntity, value: obj{
		"message": "Validation Failed", "errors": list, "documentation_url": docs + page, "status": "422",
	}}
}

// unprocessable is the other form of a 422, whose errors are sentences.
func unprocessable(page string, sentences ...string) reply {
	list := make([]any, 0, len(sentences))
	for _, s := range sentences {
		list = append(list, s)
	}
	return reply{status: http.StatusUnprocessableEntity, value: obj{
		"message": "Unprocessable Entity", "errors": list, "documentation_url": docs + page, "status": "422",
	}}
}

// badRequest is the 422 of GitHub's JSON-schema check: "Invalid request."
func badRequest(page string, sentences ...string) reply {
	return refuse(http.StatusUnprocessableEntity, "Invalid request.\n\n"+strings.Join(sentences, "\n"), page)
}

// decode reads the body's JSON object; false comes with the answer to send.
func decode(c *call, into any) (reply, bool) {
	if len(bytes.TrimSpace(c.body)) == 0 {
		return reply{}, true
	}
	err := json.Unmarshal(c.body, into)
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return reply{}, true
	case errors.As(err, &wrong):
		return badRequest("rest", fmt.Sprintf("For 'properties/%s', %s is not a %s.", wrong.Field, wrong.Value, wrong.Type)), false
	default:
		return refuse(http.StatusBadRequest, "Problems parsing JSON", "rest"), false
	}
}

// A Refusal is an error of the Sim's own methods that play a person: the site
// would not let that person do it.
type Refusal struct{ Message string }

func (r *Refusal) Error() string { return r.Message }

func refusal(format string, args ...any) error {
	return &Refusal{Message: fmt.Sprintf(format, args...)}
}
