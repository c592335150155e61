package page

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/dtypebot/dtypebot/bot/githubsim"
)

// registerView is the page that asks whether an App is to be made of a manifest.
type registerView struct {
	Title    string
	Owner    string
	App      githubsim.AppManifest
	Manifest string // the text
	State    string
	Busy     bool // no page waits for anything here
}

// register answers to a manifest that another site sends its visitor with: a
// page with a button. Nothing is made before that is pressed.
func (p *Page) register(w http.ResponseWriter, r *http.Request) {
	text := r.FormValue("manifest")
	app, err := p.sim.ReadManifest(text)
	if err != nil {
		p.refuse(w, err)
		return
	}
	// The button's answer leads back to who sent the manifest, and browsers hold
	// that against the policy as well.
	back, err := url.Parse(app.RedirectURL)
	if err != nil {
		p.refuse(w, err)
		return
	}
	w.Header().Set("Content-Security-Policy", strings.Replace(policy, "form-action 'self'", "form-action 'self' "+back.Scheme+"://"+back.Host, 1))
	owner := r.PathValue("organization")
	if owner == "" {
		owner = p.opts.Login
	}
	p.render(w, http.StatusOK, "register.html", registerView{
		Title: "Create GitHub App", Owner: owner, App: app, Manifest: text, State: r.FormValue("state"),
	})
}

// create is the button of that page.
func (p *Page) create(w http.ResponseWriter, r *http.Request) {
	text := r.FormValue("manifest")
	app, err := p.sim.ReadManifest(text)
	if err != nil {
		p.refuse(w, err)
		return
	}
	code, err := p.sim.CreateFromManifest(text, r.FormValue("owner"))
	if err != nil {
		p.refuse(w, err)
		return
	}
	to, err := url.Parse(app.RedirectURL)
	if err != nil {
		p.refuse(w, err)
		return
	}
	query := to.Query()
	query.Set("code", code)
	if state := r.FormValue("state"); state != "" {
		query.Set("state", state)
	}
	to.RawQuery = query.Encode()
	http.Redirect(w, r, to.String(), http.StatusFound)
}

func (p *Page) refuse(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if _, ok := errors.AsType[*githubsim.Refusal](err); ok {
		status = http.StatusUnprocessableEntity
	}
	p.render(w, status, "missing.html", missingView{Title: "The App cannot be created", Text: err.Error()})
}

// registerRoutes are GitHub's addresses for manifests. Forms of other sites may
// be sent to the first two, as on GitHub; the button may only be pressed here.
func (p *Page) registerRoutes(protection *http.CrossOriginProtection) {
	for _, path := range []string{"/settings/apps/new", "/organizations/{organization}/settings/apps/new"} {
		p.mux.HandleFunc("POST "+path, p.register)
		protection.AddInsecureBypassPattern("POST " + path)
	}
	p.mux.HandleFunc("POST /settings/apps/manifest", p.create)
}
