// Package page shows the pull requests of a simulated GitHub in a browser:
// conversation, check runs, the diff with each comment under its line, and
// each suggestion as a diff with a button that commits it.
//
// Everything is rendered here and works without JavaScript; a small script
// only replaces the page's content when something changed. Nothing is loaded
// from elsewhere, and the Content-Security-Policy says so. All Markdown and code
// come from repositories and are treated as hostile.
//
// The page has one visitor, who may do what the configured login may do; it has
// no accounts and no rights of its own, so it must not be reached from outside
// unless that is meant. It does not merge, does not edit comments and does not
// imitate GitHub's look.
package page

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/dtypebot/dtypebot/bot/githubsim"
)

//go:embed templates assets
var content embed.FS

// Options say who looks at the page.
type Options struct {
	Login string // plays the visitor; "you" if empty
	// Host is a name that the page is reached by, beside localhost and IP
	// addresses, which are always good; may be empty.
	Host string
	// Patience is how long a new head may be without a check run before the page
	// stops to say that it is being looked at; 2 minutes if 0.
	Patience time.Duration
	Log      *slog.Logger // silent if nil
}

// A Page is the site of a simulated GitHub. It is an http.Handler for the root
// of a host.
type Page struct {
	sim     *githubsim.Sim
	opts    Options
	log     *slog.Logger
	mux     *http.ServeMux
	tmpl    *template.Template
	colours *lru.Cache[string, [][]span]
	handler http.Handler

	mu sync.Mutex
	// rerun remembers which check run was the newest when a new look was asked
	// for, and when, by pull request.
	rerun map[string]asked
}

type asked struct {
	run int64
	at  time.Time
}

// New makes the site of a Sim.
func New(sim *githubsim.Sim, opts Options) (*Page, error) {
	if opts.Login == "" {
		opts.Login = "you"
	}
	if opts.Patience == 0 {
		opts.Patience = 2 * time.Minute
	}
	p := &Page{sim: sim, opts: opts, log: opts.Log, mux: http.NewServeMux(), rerun: map[string]asked{}}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if p.colours, err = lru.New[string, [][]span](128); err != nil {
		return nil, fmt.Errorf("make the page: %w", err)
	}
	if p.tmpl, err = template.New("").Funcs(template.FuncMap{
		"count": count, "short": short, "ago": ago, "clock": func(t time.Time) string { return t.Format("15:04:05") },
		"stamp":   func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"initial": initial, "firstLine": firstLine,
	}).ParseFS(content, "templates/*.html"); err != nil {
		return nil, fmt.Errorf("read the page's templates: %w", err)
	}
	if err := p.routes(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Page) routes() error {
	assets, err := fs.Sub(content, "assets")
	if err != nil {
		return fmt.Errorf("read the page's assets: %w", err)
	}
	const pull = "/{owner}/{name}/pull/{number}"
	p.mux.Handle("GET /-/{file}", http.StripPrefix("/-/", http.FileServerFS(assets)))
	p.mux.HandleFunc("GET /{$}", p.list)
	p.mux.HandleFunc("GET /{owner}/{name}", p.list)
	p.mux.HandleFunc("GET "+pull, p.show("conversation"))
	p.mux.HandleFunc("GET "+pull+"/checks", p.show("checks"))
	p.mux.HandleFunc("GET "+pull+"/files", p.show("files"))
	p.mux.HandleFunc("GET "+pull+"/state", p.state)
	p.mux.HandleFunc("GET /{owner}/{name}/blob/{sha}/{path...}", p.blob)
	for action, do := range map[string]func(context.Context, pullID, *http.Request) error{
		"suggestion": p.commitSuggestion, "resolve": p.resolve, "unresolve": p.unresolve, "reply": p.reply, "rerun": p.askAgain,
	} {
		p.mux.HandleFunc("POST "+pull+"/"+action, p.act(do))
		// Whoever loads the answer to a refused button again means the pull request.
		p.mux.HandleFunc("GET "+pull+"/"+action, func(w http.ResponseWriter, r *http.Request) {
			if id, ok := pullOf(r); ok {
				http.Redirect(w, r, id.URL(), http.StatusSeeOther)
				return
			}
			p.notFound(w, "A pull request has a number.")
		})
	}
	// A page of another site must not be able to press the buttons.
	protection := http.NewCrossOriginProtection()
	p.registerRoutes(protection)
	p.handler = protection.Handler(p.mux)
	return nil
}

// policy forbids everything that does not come from the page itself.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// ServeHTTP answers a request of the browser.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if !p.knows(r.Host) {
		// Otherwise a site could point its own name here and read everything.
		http.Error(w, "The page is not known by this name.", http.StatusMisdirectedRequest)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	p.handler.ServeHTTP(w, r)
}

// knows reports whether a Host header names this machine.
func (p *Page) knows(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return true
	}
	return strings.EqualFold(host, "localhost") || p.opts.Host != "" && strings.EqualFold(host, p.opts.Host)
}

// A pullID names a pull request.
type pullID struct {
	Owner, Name string
	Number      int
}

func (id pullID) String() string { return fmt.Sprintf("%s/%s#%d", id.Owner, id.Name, id.Number) }

// URL is the path of its page.
func (id pullID) URL() string {
	return fmt.Sprintf("/%s/%s/pull/%d", id.Owner, id.Name, id.Number)
}

func pullOf(r *http.Request) (pullID, bool) {
	n, err := strconv.Atoi(r.PathValue("number"))
	return pullID{r.PathValue("owner"), r.PathValue("name"), n}, err == nil
}

// render answers with a template. It is executed first, so that a fault gives an
// error and no half page.
func (p *Page) render(w http.ResponseWriter, status int, name string, data any) {
	var b bytes.Buffer
	if err := p.tmpl.ExecuteTemplate(&b, name, data); err != nil {
		p.log.Error("page", "template", name, "error", err)
		http.Error(w, "The page could not be made: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the visitor is gone
}

func (p *Page) notFound(w http.ResponseWriter, what string) {
	p.render(w, http.StatusNotFound, "missing.html", missingView{Title: "Not found", Text: what})
}

// list shows all pull requests, or those of one repository.
func (p *Page) list(w http.ResponseWriter, r *http.Request) {
	only := ""
	if owner := r.PathValue("owner"); owner != "" {
		only = owner + "/" + r.PathValue("name")
	}
	data := listView{Title: "Pull requests"}
	for _, full := range p.sim.Repositories() {
		if only != "" && !strings.EqualFold(only, full) {
			continue
		}
		owner, name, _ := strings.Cut(full, "/")
		repo := repoView{Name: full}
		for _, n := range p.sim.Pulls(owner, name) {
			id := pullID{owner, name, n}
			if view, ok := p.sim.Pull(r.Context(), owner, name, n); ok {
				repo.Pulls = append(repo.Pulls, p.head(id, view))
			}
		}
		data.Repositories = append(data.Repositories, repo)
	}
	if only != "" {
		if len(data.Repositories) == 0 {
			p.notFound(w, "There is no repository "+only+".")
			return
		}
		data.Title = only
	}
	for _, repo := range data.Repositories {
		for _, pull := range repo.Pulls {
			data.Busy = data.Busy || pull.Busy
		}
	}
	p.render(w, http.StatusOK, "list.html", data)
}

// show answers with a tab of a pull request.
func (p *Page) show(tab string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, ok := pullOf(r)
		if !ok {
			p.notFound(w, "A pull request has a number.")
			return
		}
		p.pull(w, r, id, tab, http.StatusOK, "")
	}
}

func (p *Page) pull(w http.ResponseWriter, r *http.Request, id pullID, tab string, status int, trouble string) {
	view, ok := p.sim.Pull(r.Context(), id.Owner, id.Name, id.Number)
	if !ok {
		p.notFound(w, "There is no pull request "+id.String()+".")
		return
	}
	data, err := p.page(id, view, tab)
	if err != nil {
		p.log.Error("page", "pull", id.String(), "error", err)
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	data.Trouble = trouble
	p.render(w, status, "pull.html", data)
}

// state tells the script what a pull request is like now. With since it waits
// until that differs, for some time.
func (p *Page) state(w http.ResponseWriter, r *http.Request) {
	id, ok := pullOf(r)
	if !ok {
		http.NotFound(w, r)
		return
	}
	type state struct {
		Version string `json:"version"`
		Busy    bool   `json:"busy"`
		Text    string `json:"text"` // for a screen reader
	}
	var now state
	look := func(ctx context.Context) bool {
		view, ok := p.sim.Pull(ctx, id.Owner, id.Name, id.Number)
		if !ok {
			return false
		}
		h := p.head(id, view)
		now = state{Version: h.Version, Busy: h.Busy, Text: h.Check.Title}
		if h.Busy {
			now.Text = "dtypebot looks at " + short(view.HeadSHA)
		}
		return true
	}
	ctx, cancel := context.WithTimeout(r.Context(), 20*time.Second)
	defer cancel()
	if !look(ctx) {
		http.NotFound(w, r)
		return
	}
	if since := r.FormValue("since"); since == now.Version {
		// At the end of the time the state is told unchanged.
		_ = p.sim.Until(ctx, func() bool { return !look(ctx) || now.Version != since })
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(now) // the visitor is gone
}

// version changes whenever the pull request does.
func version(view githubsim.PullView, busy bool) string {
	view.Files = nil // they follow from the head
	data, err := json.Marshal(view)
	if err != nil {
		return "" // unreachable unless a view gets a field that JSON cannot hold
	}
	sum := sha256.Sum256(append(data, strconv.FormatBool(busy)...))
	return hex.EncodeToString(sum[:8])
}

// act does what a button asks for and leads back to the tab it is on.
func (p *Page) act(do func(context.Context, pullID, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id, ok := pullOf(r)
		if !ok {
			p.notFound(w, "A pull request has a number.")
			return
		}
		tab := r.FormValue("tab")
		suffix := ""
		switch tab {
		case "checks", "files":
			suffix = "/" + tab
		default:
			tab = "conversation"
		}
		// What the button began is not given up with the visitor's connection.
		err := do(context.WithoutCancel(r.Context()), id, r)
		if refusal, ok := errors.AsType[*githubsim.Refusal](err); ok {
			p.pull(w, r, id, tab, http.StatusConflict, refusal.Message)
			return
		}
		if err != nil {
			p.log.Warn("page", "pull", id.String(), "error", err)
			p.pull(w, r, id, tab, http.StatusBadRequest, err.Error())
			return
		}
		to := id.URL() + suffix
		if n, err := strconv.ParseInt(r.FormValue("comment"), 10, 64); err == nil {
			to += "#" + anchor(n)
		}
		http.Redirect(w, r, to, http.StatusSeeOther)
	}
}

func commentOf(r *http.Request) (int64, error) {
	n, err := strconv.ParseInt(r.FormValue("comment"), 10, 64)
	if err != nil {
		return 0, errors.New("the request names no comment")
	}
	return n, nil
}

func (p *Page) commitSuggestion(ctx context.Context, id pullID, r *http.Request) error {
	n, err := commentOf(r)
	if err == nil {
		_, err = p.sim.CommitSuggestion(ctx, id.Owner, id.Name, id.Number, n, p.opts.Login)
	}
	return err
}

func (p *Page) resolve(ctx context.Context, id pullID, r *http.Request) error {
	n, err := commentOf(r)
	if err == nil {
		err = p.sim.ResolveThread(ctx, id.Owner, id.Name, id.Number, n, p.opts.Login)
	}
	return err
}

func (p *Page) unresolve(ctx context.Context, id pullID, r *http.Request) error {
	n, err := commentOf(r)
	if err == nil {
		err = p.sim.UnresolveThread(ctx, id.Owner, id.Name, id.Number, n, p.opts.Login)
	}
	return err
}

func (p *Page) reply(ctx context.Context, id pullID, r *http.Request) error {
	n, err := commentOf(r)
	if err != nil {
		return err
	}
	text := strings.TrimSpace(r.FormValue("text"))
	if text == "" {
		return &githubsim.Refusal{Message: "A reply needs some text."}
	}
	_, err = p.sim.Reply(ctx, id.Owner, id.Name, id.Number, n, p.opts.Login, text)
	return err
}

func (p *Page) askAgain(ctx context.Context, id pullID, r *http.Request) error {
	run, err := strconv.ParseInt(r.FormValue("run"), 10, 64)
	if err != nil {
		return errors.New("the request names no check run")
	}
	view, ok := p.sim.Pull(ctx, id.Owner, id.Name, id.Number)
	if !ok || len(view.CheckRuns) == 0 {
		return &githubsim.Refusal{Message: "There is no check run to run again."}
	}
	p.mu.Lock()
	p.rerun[id.String()] = asked{run: view.CheckRuns[0].ID, at: time.Now()}
	p.mu.Unlock()
	if err := p.sim.RerequestCheckRun(id.Owner, id.Name, run, p.opts.Login); err != nil {
		p.mu.Lock()
		delete(p.rerun, id.String())
		p.mu.Unlock()
		return err
	}
	return nil
}

// busy reports whether a new check run is on its way: the head has none yet, or
// somebody asked for a new one.
func (p *Page) busy(id pullID, view githubsim.PullView) bool {
	if view.State != "open" {
		return false
	}
	p.mu.Lock()
	again, ok := p.rerun[id.String()]
	p.mu.Unlock()
	if len(view.CheckRuns) > 0 {
		newest := view.CheckRuns[0]
		waits := ok && newest.ID == again.run && time.Since(again.at) < p.opts.Patience
		return newest.Status != "completed" || waits
	}
	moved := view.Created
	for _, e := range view.Timeline {
		if e.SHA != "" && e.At.After(moved) {
			moved = e.At
		}
	}
	return time.Since(moved) < p.opts.Patience
}
