// Package setup is the page that creates the GitHub App: while serve has no
// credentials, whoever opens the address that it prints is led through GitHub's
// manifest flow, and the credentials that GitHub gives are kept in the data
// folder, for the bot alone to read. They are never shown, logged or sent
// anywhere.
//
// The page opens with a token that works once; the browser that used it has the
// page until the App exists. There is no way around the token, not even from this
// machine: behind a reverse proxy everybody comes from this machine.
//
// It does not install the App on repositories (GitHub's own page does, to which
// it leads), does not change an App that exists, and does not encrypt what it
// keeps.
package setup

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/dtypebot/dtypebot/bot/github"
)

//go:embed templates assets
var content embed.FS

// Options are what the page needs.
type Options struct {
	DataDir string // where the credentials are kept
	// GitHub is the configuration of the client, without an App.
	GitHub github.Config
	Log    *slog.Logger // silent if nil
}

// A Wizard is the page.
type Wizard struct {
	opts Options
	log  *slog.Logger
	tmpl *template.Template
	site string // of GitHub, for people

	mu      sync.Mutex
	token   string    // "" when it was used
	session string    // of the browser that used it
	state   string    // of the manifest that was sent last; "" is none
	expires time.Time // of the state
	saved   bool
	done    chan struct{}
}

// stateLimit is how long GitHub keeps the code that belongs to a state.
const stateLimit = time.Hour

// New makes the page with a new token. Nothing is written before somebody
// creates an App.
func New(opts Options) (*Wizard, error) {
	w := &Wizard{opts: opts, log: opts.Log, token: rand.Text(), done: make(chan struct{})}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	if opts.GitHub.APIURL == "" {
		w.opts.GitHub.APIURL = github.DefaultAPIURL
	}
	w.site = github.SiteURL(w.opts.GitHub.APIURL)
	var err error
	if w.tmpl, err = template.ParseFS(content, "templates/*.html"); err != nil {
		return nil, fmt.Errorf("read the setup page's templates: %w", err)
	}
	return w, nil
}

// Path is where the page begins, with the token that opens it.
func (w *Wizard) Path() string { return "/setup?token=" + w.token }

// Done is closed when the credentials are kept and the page that says so was
// sent.
func (w *Wizard) Done() <-chan struct{} { return w.done }

// Handler answers /setup and what is below it.
func (w *Wizard) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /setup", w.open)
	mux.HandleFunc("POST /setup", w.ask)
	mux.HandleFunc("GET /setup/created", w.created)
	mux.HandleFunc("GET /setup/page.css", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Cache-Control", "private, max-age=3600") // behind the last page nobody answers any more
		http.ServeFileFS(rw, r, content, "assets/page.css")
	})
	guarded := http.NewCrossOriginProtection().Handler(mux)
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		h := rw.Header()
		// The second form is sent to GitHub, which may lead over a page to log in.
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self' https: "+w.site+"; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer") // the addresses hold the token and the code
		h.Set("Cache-Control", "no-store")
		r.Body = http.MaxBytesReader(rw, r.Body, 64<<10)
		guarded.ServeHTTP(rw, r)
	})
}

// view is what the templates show.
type view struct {
	Title string
	Form  form
	Site  string
	// Of the second page:
	Permissions     []Permission
	Events          []string
	Hook            string
	Action          string // where the manifest is sent
	ManifestText    string
	App             string // the App's name, on the last page
	Install         string // where it is installed
	Trouble, Remedy string
}

func (w *Wizard) render(rw http.ResponseWriter, status int, name string, v view) {
	v.Site = w.site
	var b bytes.Buffer
	if err := w.tmpl.ExecuteTemplate(&b, name, v); err != nil {
		w.log.Error("setup page", "template", name, "error", err)
		http.Error(rw, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	rw.WriteHeader(status)
	_, _ = rw.Write(b.Bytes()) // the visitor is gone
}

func (w *Wizard) trouble(rw http.ResponseWriter, status int, what, remedy string) {
	w.render(rw, status, "trouble.html", view{Title: "This did not work", Trouble: what, Remedy: remedy})
}

const cookie = "dtypebot-setup"

// open shows the form to who has the token or used it before.
func (w *Wizard) open(rw http.ResponseWriter, r *http.Request) {
	if token := r.URL.Query().Get("token"); token != "" && w.enter(rw, r, token) {
		http.Redirect(rw, r, "/setup", http.StatusSeeOther) // the address bar does not keep the token
		return
	}
	if !w.known(rw, r) {
		return
	}
	f := form{Name: "dtypebot"}
	if u := base(r); unreachable(u) == "" {
		f.Address = u
	}
	w.render(rw, http.StatusOK, "form.html", view{Title: "Create the GitHub App", Form: f})
}

// enter lets a browser in that has the token, once.
func (w *Wizard) enter(rw http.ResponseWriter, r *http.Request, token string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !same(token, w.token) {
		return false
	}
	w.token, w.session = "", rand.Text()
	http.SetCookie(rw, &http.Cookie{
		Name: cookie, Value: w.session, Path: "/setup", HttpOnly: true, Secure: strings.HasPrefix(base(r), "https:"),
		SameSite: http.SameSiteLaxMode, // GitHub leads back by an ordinary link
	})
	w.log.Info("the setup page was opened", "from", r.RemoteAddr)
	return true
}

// same compares with a secret, which must not be empty.
func same(got, secret string) bool {
	return secret != "" && subtle.ConstantTimeCompare([]byte(got), []byte(secret)) == 1
}

// known reports whether the browser is the one that was let in, and answers if
// it is not.
func (w *Wizard) known(rw http.ResponseWriter, r *http.Request) bool {
	w.mu.Lock()
	session := w.session
	w.mu.Unlock()
	if c, err := r.Cookie(cookie); err == nil && same(c.Value, session) {
		return true
	}
	w.trouble(rw, http.StatusForbidden, "This page opens with the address that dtypebot serve printed when it started, in one browser, once.",
		"Stop dtypebot and start it again to get a new address.")
	return false
}

// base is the address that the browser reached the page by.
func base(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

// ask checks the form and shows what GitHub will be asked for.
func (w *Wizard) ask(rw http.ResponseWriter, r *http.Request) {
	if !w.known(rw, r) {
		return
	}
	var f form
	if err := r.ParseForm(); err != nil {
		w.trouble(rw, http.StatusBadRequest, "The form could not be read.", "")
		return
	}
	f.read(r.PostForm)
	if len(f.Faults) > 0 {
		w.render(rw, http.StatusUnprocessableEntity, "form.html", view{Title: "Create the GitHub App", Form: f})
		return
	}
	if err := prepare(w.opts.DataDir); err != nil {
		w.log.Error("the data folder cannot keep credentials", "error", err)
		w.trouble(rw, http.StatusInternalServerError, "The credentials could not be kept: "+err.Error()+".", "Mend that first; nothing was created yet.")
		return
	}
	m := manifest(f.Name, f.Address, f.Write)
	m.RedirectURL = base(r) + "/setup/created"
	text, err := json.Marshal(m)
	if err != nil {
		w.trouble(rw, http.StatusInternalServerError, err.Error(), "")
		return
	}
	action := w.site + "/settings/apps/new"
	if f.Organization != "" {
		action = w.site + "/organizations/" + f.Organization + "/settings/apps/new"
	}
	w.mu.Lock()
	w.state, w.expires = rand.Text(), time.Now().Add(stateLimit)
	action += "?state=" + url.QueryEscape(w.state)
	w.mu.Unlock()
	w.render(rw, http.StatusOK, "confirm.html", view{
		Title: "What the App may do", Form: f, Permissions: Permissions(f.Write), Events: m.DefaultEvents, Hook: m.HookAttributes.URL,
		Action: action, ManifestText: string(text),
	})
}

// created is where GitHub sends the person back to, with a code for the
// credentials.
func (w *Wizard) created(rw http.ResponseWriter, r *http.Request) {
	if !w.known(rw, r) {
		return
	}
	query := r.URL.Query()
	w.mu.Lock()
	ours := same(query.Get("state"), w.state) && time.Now().Before(w.expires)
	if ours {
		w.state = "" // a second time would be somebody else's doing
	}
	w.mu.Unlock()
	if !ours {
		w.trouble(rw, http.StatusBadRequest, "GitHub's answer does not belong to what this page asked for, or came too late.", "Begin again.")
		return
	}
	// What GitHub gives once is not given up with the visitor's connection.
	made, err := github.Register(context.WithoutCancel(r.Context()), w.opts.GitHub, query.Get("code"))
	if err != nil {
		w.log.Error("create the App", "error", err)
		what := "GitHub did not give the App's credentials: " + err.Error()
		if e, ok := errors.AsType[*github.Error](err); ok && e.Status == http.StatusNotFound {
			what = "GitHub does not know the code that it sent: it works once, and for an hour."
		}
		w.trouble(rw, http.StatusBadGateway, what, "If the App was created, delete it in its settings (Advanced), and begin again.")
		return
	}
	err = save(w.opts.DataDir, Credentials{
		AppID: made.AppID, Slug: made.Slug, APIURL: w.opts.GitHub.APIURL, Key: made.Key, Secret: made.Secret,
	})
	if err != nil {
		w.log.Error("create the App", "error", err)
		w.trouble(rw, http.StatusInternalServerError, "The App was created, but its credentials could not be kept: "+err.Error()+".",
			"Delete the App in its settings (Advanced), mend that, and begin again.")
		return
	}
	w.log.Info("the App was created", "app", made.AppID, "slug", made.Slug, "kept in", File(w.opts.DataDir))
	w.render(rw, http.StatusOK, "created.html", view{
		Title: "The App exists", App: made.Name, Install: w.site + "/apps/" + url.PathEscape(made.Slug) + "/installations/new",
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.saved {
		w.saved = true
		close(w.done)
	}
}
