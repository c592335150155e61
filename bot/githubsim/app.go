package githubsim

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v4"
)

// AppOptions describe an App to register.
type AppOptions struct {
	Name        string
	Slug        string            // derived from Name if empty
	Owner       string            // account that owns the App; "app-owner" if empty
	Permissions map[string]string // "checks": "write", …; metadata: read is always there
	Events      []string          // "pull_request", …
	WebhookURL  string            // no webhooks if empty
	Secret      string            // signs the webhooks; unsigned if empty
	Key         *rsa.PrivateKey   // made if nil
}

// App is a registered App, as its owner knows it.
type App struct {
	ID       int64
	Slug     string
	ClientID string
	PEM      []byte // the private key, PKCS #1
	Login    string // of its bot account, "slug[bot]"
}

type app struct {
	id               int64
	name, slug       string
	clientID         string
	owner            *user
	bot              *user
	key              *rsa.PublicKey
	permissions      map[string]string
	events           []string
	webhook, secret  string
	created, updated time.Time
}

// An installation is an App on an account.
type installation struct {
	id          int64
	app         *app
	account     *user
	all         bool // of the account's repositories
	repos       []*repository
	permissions map[string]string
	suspended   time.Time
	suspendedBy *user
	deleted     bool
	created     time.Time
}

func (i *installation) has(r *repository) bool {
	return !i.deleted && ((i.all && r.owner == i.account) || slices.Contains(i.repos, r))
}

func (i *installation) repositories(all []*repository) []*repository {
	var list []*repository
	for _, r := range all {
		if i.has(r) {
			list = append(list, r)
		}
	}
	return list
}

// A token is an installation token.
type token struct {
	install     *installation
	expires     time.Time
	permissions map[string]string
	repos       []*repository // nil: all of the installation
}

// A user is a person, an organisation or an App's bot.
type user struct {
	id    int64
	login string
	kind  string // "User", "Organization", "Bot"
}

// user gives the account of a login, and makes it if need be.
func (s *Sim) user(login, kind string) *user {
	if login == "" {
		login = "ghost"
	}
	key := strings.ToLower(login)
	u := s.users[key]
	if u == nil {
		if kind == "" {
			kind = "User"
		}
		u = &user{id: s.id("user"), login: login, kind: kind}
		s.users[key] = u
	}
	return u
}

// RegisterApp makes an App with a new key.
func (s *Sim) RegisterApp(opts AppOptions) (App, error) {
	key := opts.Key
	if key == nil {
		var err error
		if key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
			return App{}, fmt.Errorf("key of App %s: %w", opts.Name, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	slug := opts.Slug
	if slug == "" {
		slug = strings.ReplaceAll(strings.ToLower(opts.Name), " ", "-")
	}
	owner := opts.Owner
	if owner == "" {
		owner = "app-owner"
	}
	a := &app{
		id: s.id("app"), name: opts.Name, slug: slug, owner: s.user(owner, ""), key: &key.PublicKey,
		permissions: maps.Clone(opts.Permissions), events: slices.Clone(opts.Events),
		webhook: opts.WebhookURL, secret: opts.Secret, created: s.now(), updated: s.now(),
	}
	if a.permissions == nil {
		a.permissions = map[string]string{}
	}
	a.permissions["metadata"] = "read"
	a.clientID = fmt.Sprintf("Iv23li%014d", a.id)
	a.bot = s.user(slug+"[bot]", "Bot")
	s.apps = append(s.apps, a)
	return App{
		ID: a.id, Slug: slug, ClientID: a.clientID, Login: a.bot.login,
		PEM: pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
	}, nil
}

// SetWebhook changes where an App's webhooks go and what signs them.
func (s *Sim) SetWebhook(appID int64, address, secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if a := s.appByID(appID); a != nil {
		a.webhook, a.secret = address, secret
	}
}

func (s *Sim) appByID(id int64) *app {
	for _, a := range s.apps {
		if a.id == id {
			return a
		}
	}
	return nil
}

// Install puts an App on the owner of the named repositories ("owner/name"),
// all of one owner, and sends installation.created. A single "owner/*" means
// all of the owner's repositories, also later ones. It gives the
// installation's id.
func (s *Sim) Install(appID int64, repositories ...string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.appByID(appID)
	if a == nil {
		return 0, fmt.Errorf("install App %d: no such App", appID)
	}
	in := &installation{app: a, permissions: maps.Clone(a.permissions), created: s.now()}
	for _, full := range repositories {
		owner, name, okay := strings.Cut(full, "/")
		if !okay {
			return 0, fmt.Errorf("install App %d: %q is not owner/name", appID, full)
		}
		if name == "*" {
			in.all, in.account = true, s.user(owner, "Organization")
			continue
		}
		r := s.find(owner, name)
		if r == nil {
			return 0, fmt.Errorf("install App %d: no repository %s", appID, full)
		}
		if in.account != nil && in.account != r.owner {
			return 0, fmt.Errorf("install App %d: repositories of several owners", appID)
		}
		in.account = r.owner
		in.repos = append(in.repos, r)
	}
	if in.account == nil {
		return 0, fmt.Errorf("install App %d: no repository named", appID)
	}
	in.id = s.id("installation")
	s.installs = append(s.installs, in)
	s.emitInstallation(in, "created")
	s.touch()
	return in.id, nil
}

func (s *Sim) installation(id int64) *installation {
	for _, in := range s.installs {
		if in.id == id && !in.deleted {
			return in
		}
	}
	return nil
}

// Suspend suspends an installation: its tokens stop to work.
func (s *Sim) Suspend(id int64) { s.changeInstallation(id, "suspend") }

// Unsuspend undoes Suspend.
func (s *Sim) Unsuspend(id int64) { s.changeInstallation(id, "unsuspend") }

// Uninstall removes an installation for ever.
func (s *Sim) Uninstall(id int64) { s.changeInstallation(id, "deleted") }

func (s *Sim) changeInstallation(id int64, action string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.installation(id)
	if in == nil {
		return
	}
	switch action {
	case "suspend":
		in.suspended, in.suspendedBy = s.now(), in.account
	case "unsuspend":
		in.suspended, in.suspendedBy = time.Time{}, nil
	}
	s.emitInstallation(in, action) // before it is gone: the payload still names its repositories
	in.deleted = action == "deleted"
	s.touch()
}

// SetPermissions changes what an installation may do, as when its owner
// accepts an App's new permissions. Tokens made before keep theirs, but not
// what the installation has lost.
func (s *Sim) SetPermissions(id int64, permissions map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	in := s.installation(id)
	if in == nil {
		return
	}
	in.permissions = maps.Clone(permissions)
	if in.permissions == nil {
		in.permissions = map[string]string{}
	}
	in.permissions["metadata"] = "read"
	s.emitInstallation(in, "new_permissions_accepted")
	s.touch()
}

// A caller is who sent a request.
type caller struct {
	app     *app
	install *installation
	token   *token
}

func (c caller) user() *user {
	if c.app == nil {
		return nil
	}
	return c.app.bot
}

// may says whether the caller's token has a permission at a level.
func (c caller) may(permission, level string) bool {
	if permission == "" {
		return true
	}
	if c.token == nil {
		return false
	}
	have := weaker(c.token.permissions[permission], c.install.permissions[permission])
	return rank(have) >= rank(level)
}

func (c caller) reaches(r *repository) bool {
	return c.token != nil && c.install.has(r) && (c.token.repos == nil || slices.Contains(c.token.repos, r))
}

func rank(level string) int { return slices.Index([]string{"", "read", "write", "admin"}, level) }

func weaker(a, b string) string {
	if rank(a) < rank(b) {
		return a
	}
	return b
}

type authKind int

const (
	authNone  authKind = iota
	authApp            // the App's JWT
	authToken          // an installation token
)

func (s *Sim) authenticate(c *call) (reply, bool) {
	scheme, credential, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	if credential == "" || (!strings.EqualFold(scheme, "token") && !strings.EqualFold(scheme, "bearer")) {
		if c.route.auth == authNone {
			return reply{}, false
		}
		if c.route.auth == authApp {
			return refuse(http.StatusUnauthorized, "A JSON web token could not be decoded", "rest"), true
		}
		return refuse(http.StatusUnauthorized, "Requires authentication", "rest"), true
	}
	credential = strings.TrimSpace(credential)
	if t := s.tokens[credential]; t != nil {
		if !s.opts.Clock().Before(t.expires) || t.install.deleted {
			return refuse(http.StatusUnauthorized, "Bad credentials", "rest"), true
		}
		c.caller = caller{app: t.install.app, install: t.install, token: t}
		switch {
		case c.route.auth == authApp:
			return refuse(http.StatusUnauthorized, "A JSON web token could not be decoded", "rest"), true
		case !t.install.suspended.IsZero():
			return refuse(http.StatusForbidden, "This installation has been suspended", "rest"), true
		}
		return reply{}, false
	}
	if c.route.auth == authToken || c.route.auth == authNone || strings.HasPrefix(credential, "gh") {
		return refuse(http.StatusUnauthorized, "Bad credentials", "rest"), true
	}
	a, rep := s.verifyJWT(credential)
	if a == nil {
		return rep, true
	}
	c.caller = caller{app: a}
	return reply{}, false
}

// verifyJWT applies GitHub's rules for an App's token, with its messages:
// RS256, iat not in the future, exp at most 10 minutes ahead and not past.
// (docs: generating-a-json-web-token-jwt-for-a-github-app; actions/create-github-app-token#178.)
func (s *Sim) verifyJWT(raw string) (*app, reply) {
	deny := func(message string) (*app, reply) { return nil, refuse(http.StatusUnauthorized, message, "rest") }
	const undecodable = "A JSON web token could not be decoded"
	claims := jwt.MapClaims{}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithoutClaimsValidation(), jwt.WithJSONNumber())
	var a *app
	var unknown bool
	_, err := parser.ParseWithClaims(raw, claims, func(*jwt.Token) (any, error) {
		issuer := fmt.Sprint(claims["iss"])
		for _, x := range s.apps {
			if issuer == strconv.FormatInt(x.id, 10) || issuer == x.clientID {
				a = x
				return x.key, nil
			}
		}
		unknown = true
		return nil, fmt.Errorf("issuer %s", issuer)
	})
	if unknown {
		return nil, refuse(http.StatusNotFound, "Integration not found", "rest")
	}
	if err != nil || a == nil {
		return deny(undecodable)
	}
	now := s.opts.Clock()
	at := func(name string) (time.Time, bool) {
		n, isNumber := claims[name].(json.Number)
		if !isNumber {
			return time.Time{}, false
		}
		f, err := n.Float64()
		return time.Unix(int64(f), 0), err == nil
	}
	iat, okay := at("iat")
	if !okay || iat.After(now) {
		return deny("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued")
	}
	exp, okay := at("exp")
	if !okay || !exp.After(now) {
		return deny("'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires")
	}
	if exp.After(now.Add(10 * time.Minute)) {
		return deny("'Expiration time' claim ('exp') is too far in the future")
	}
	return a, reply{}
}

// authorize finds the repository of the path and checks the permission.
func (s *Sim) authorize(c *call) (reply, bool) {
	if owner := c.path("owner"); owner != "" {
		name := c.path("repo")
		c.repo = s.find(owner, name)
		if c.repo == nil {
			if r := s.moved[strings.ToLower(owner+"/"+name)]; r != nil && (c.caller.reaches(r) || !r.private || c.caller.token == nil) {
				rest := c.r.URL.EscapedPath()[len("/repos/")+len(owner)+1+len(name):]
				return s.movedTo(c, r, rest), true
			}
			return notFound(), true
		}
	}
	if c.route.auth == authApp || c.repo == nil {
		return reply{}, false
	}
	return s.permit(c)
}

func (s *Sim) movedTo(c *call, r *repository, rest string) reply {
	to := fmt.Sprintf("%s/repositories/%d%s", s.url, r.id, rest)
	if q := c.r.URL.RawQuery; q != "" {
		to += "?" + q
	}
	status := http.StatusMovedPermanently
	if c.r.Method != http.MethodGet && c.r.Method != http.MethodHead {
		status = http.StatusTemporaryRedirect
	}
	return reply{status: status, value: obj{
		"message": "Moved Permanently", "url": to, "documentation_url": docs + "rest/guides/best-practices-for-using-the-rest-api#follow-redirects",
	}}.with("Location", to)
}

// permit checks c.repo against the caller's installation. What is public may
// be read by everybody, as each endpoint's documentation says.
func (s *Sim) permit(c *call) (reply, bool) {
	read := c.r.Method == http.MethodGet || c.r.Method == http.MethodHead
	if read && !c.repo.private {
		return reply{}, false
	}
	if !c.caller.reaches(c.repo) {
		if c.repo.private {
			return notFound(), true
		}
		return s.inaccessible(c), true
	}
	if !c.caller.may(c.route.permission, c.route.level) {
		return s.inaccessible(c), true
	}
	return reply{}, false
}

func (s *Sim) inaccessible(c *call) reply {
	rep := refuse(http.StatusForbidden, "Resource not accessible by integration", "rest")
	if c.route.permission != "" {
		rep = rep.with("X-Accepted-GitHub-Permissions", c.route.permission+"="+c.route.level)
	}
	return rep
}

func (s *Sim) getApp(c *call) reply {
	o := s.appJSON(c.caller.app)
	n := 0
	for _, in := range s.installs {
		if in.app == c.caller.app && !in.deleted {
			n++
		}
	}
	o["installations_count"] = n
	return ok(o)
}

func (s *Sim) listInstallations(c *call) reply {
	var list []*installation
	for _, in := range s.installs {
		if in.app == c.caller.app && !in.deleted {
			list = append(list, in)
		}
	}
	return listed(c, list, func(in *installation) any { return s.installationJSON(in) })
}

func (s *Sim) ownInstallation(c *call) *installation {
	in := s.installation(c.number("installation_id"))
	if in == nil || in.app != c.caller.app {
		return nil
	}
	return in
}

func (s *Sim) getInstallation(c *call) reply {
	in := s.ownInstallation(c)
	if in == nil {
		return notFound()
	}
	return ok(s.installationJSON(in))
}

func (s *Sim) repositoryInstallation(c *call) reply {
	for _, in := range s.installs {
		if in.app == c.caller.app && in.has(c.repo) {
			return ok(s.installationJSON(in))
		}
	}
	return notFound()
}

func (s *Sim) createToken(c *call) reply {
	const page = "rest/apps/apps#create-an-installation-access-token-for-an-app"
	in := s.ownInstallation(c)
	if in == nil {
		return refuse(http.StatusNotFound, "Not Found", page)
	}
	if !in.suspended.IsZero() {
		return refuse(http.StatusForbidden, "This installation has been suspended", page)
	}
	var want struct {
		Repositories  []string          `json:"repositories"`
		RepositoryIDs []int64           `json:"repository_ids"`
		Permissions   map[string]string `json:"permissions"`
	}
	if rep, okay := decode(c, &want); !okay {
		return rep
	}
	if len(want.Repositories)+len(want.RepositoryIDs) > 500 {
		return refuse(http.StatusUnprocessableEntity, "Too many repositories: at most 500 can be named.", page)
	}
	t := &token{install: in, expires: s.now().Add(time.Hour), permissions: maps.Clone(in.permissions)}
	narrow := func(match func(*repository) bool) bool {
		for _, r := range in.repositories(s.repos) {
			if match(r) {
				t.repos = append(t.repos, r)
				return true
			}
		}
		return false
	}
	for _, name := range want.Repositories {
		if !narrow(func(r *repository) bool { return strings.EqualFold(r.name, name) }) {
			return refuse(http.StatusUnprocessableEntity, "There is at least one repository that does not exist or is not accessible to the parent installation.", page)
		}
	}
	for _, id := range want.RepositoryIDs {
		if !narrow(func(r *repository) bool { return r.id == id }) {
			return refuse(http.StatusUnprocessableEntity, "There is at least one repository that does not exist or is not accessible to the parent installation.", page)
		}
	}
	if len(want.Permissions) > 0 {
		t.permissions = map[string]string{"metadata": "read"}
		for name, level := range want.Permissions {
			if rank(level) < 1 || rank(in.permissions[name]) < rank(level) {
				return refuse(http.StatusUnprocessableEntity, "The permissions requested are not granted to this installation.", page)
			}
			t.permissions[name] = level
		}
	}
	text := s.mintToken(in)
	s.tokens[text] = t
	selection := "selected"
	if in.all && t.repos == nil {
		selection = "all"
	}
	o := obj{"token": text, "expires_at": stamp(t.expires), "permissions": t.permissions, "repository_selection": selection}
	if t.repos != nil {
		list := []any{}
		for _, r := range t.repos {
			list = append(list, s.repositoryJSON(r))
		}
		o["repositories"] = list
	}
	return created(o)
}

// mintToken makes a token of the form that GitHub uses since April 2026:
// ghs_<app id>_<something like a JWT>, about 520 characters.
func (s *Sim) mintToken(in *installation) string {
	s.nextID["token"]++
	mac := hmac.New(sha512.New, s.secret)
	fmt.Fprintf(mac, "%d %d", in.id, s.nextID["token"])
	seed := mac.Sum(nil)
	e := base64.RawURLEncoding
	payload := fmt.Sprintf(`{"iss":"github.com","sub":"installation:%d","jti":%q}`, in.id, e.EncodeToString(seed))
	signature := make([]byte, 0, 256)
	for i := 0; len(signature) < 214; i++ {
		sum := sha256.Sum256(append(seed, byte(i)))
		signature = append(signature, sum[:]...)
	}
	return fmt.Sprintf("ghs_%d_%s.%s.%s", in.app.id, e.EncodeToString([]byte(`{"alg":"ES256","typ":"JWT"}`)),
		e.EncodeToString([]byte(payload)), e.EncodeToString(signature[:214]))
}

func (s *Sim) revokeToken(c *call) reply {
	for text, t := range s.tokens {
		if t == c.caller.token {
			delete(s.tokens, text)
		}
	}
	return reply{status: http.StatusNoContent}
}

func (s *Sim) installationRepositories(c *call) reply {
	repos := c.caller.install.repositories(s.repos)
	if c.caller.token.repos != nil {
		repos = c.caller.token.repos
	}
	list, link := page(c, repos, func(r *repository) any { return s.repositoryJSON(r) })
	selection := "selected"
	if c.caller.install.all {
		selection = "all"
	}
	rep := ok(obj{"total_count": len(repos), "repository_selection": selection, "repositories": list})
	if link != "" {
		rep = rep.with("Link", link)
	}
	return rep
}

func (s *Sim) rateLimit(c *call) reply {
	core := s.rateOf(c).json()
	search := obj{"limit": 30, "used": 0, "remaining": 30, "reset": s.opts.Clock().Add(time.Minute).Unix()}
	graphql := obj{"limit": s.opts.Limits.Core, "used": 0, "remaining": s.opts.Limits.Core, "reset": core["reset"]}
	if c.caller.install != nil {
		if r := s.rates[fmt.Sprintf("installation %d graphql", c.caller.install.id)]; r != nil {
			graphql = r.json()
		}
	}
	return ok(obj{"resources": obj{"core": core, "search": search, "graphql": graphql}, "rate": core})
}

func (s *Sim) appJSON(a *app) obj {
	return obj{
		"id": a.id, "slug": a.slug, "node_id": nodeID("A", a.id), "client_id": a.clientID, "owner": s.userJSON(a.owner),
		"name": a.name, "description": "", "external_url": s.url, "html_url": s.url + "/apps/" + a.slug,
		"created_at": stamp(a.created), "updated_at": stamp(a.updated), "permissions": a.permissions, "events": orEmpty(a.events),
	}
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (s *Sim) installationJSON(in *installation) obj {
	selection := "selected"
	if in.all {
		selection = "all"
	}
	o := obj{
		"id": in.id, "account": s.userJSON(in.account), "repository_selection": selection,
		"access_tokens_url": fmt.Sprintf("%s/app/installations/%d/access_tokens", s.url, in.id),
		"repositories_url":  s.url + "/installation/repositories",
		"html_url":          fmt.Sprintf("%s/organizations/%s/settings/installations/%d", s.url, in.account.login, in.id),
		"app_id":            in.app.id, "app_slug": in.app.slug, "client_id": in.app.clientID,
		"target_id": in.account.id, "target_type": in.account.kind, "permissions": in.permissions, "events": orEmpty(in.app.events),
		"created_at": stamp(in.created), "updated_at": stamp(in.created), "single_file_name": nil,
		"has_multiple_single_files": false, "single_file_paths": []any{},
		"suspended_by": nil, "suspended_at": stampOrNil(in.suspended),
	}
	if in.suspendedBy != nil {
		o["suspended_by"] = s.userJSON(in.suspendedBy)
	}
	return o
}

func (s *Sim) userJSON(u *user) obj {
	if u == nil {
		return nil
	}
	api := s.url + "/users/" + u.login
	site := s.url + "/" + u.login
	prefix := map[string]string{"User": "U", "Organization": "O", "Bot": "BOT"}[u.kind]
	if u.kind == "Bot" {
		site = s.url + "/apps/" + strings.TrimSuffix(u.login, "[bot]")
	}
	return obj{
		"login": u.login, "id": u.id, "node_id": nodeID(prefix, u.id), "avatar_url": fmt.Sprintf("%s/avatars/u/%d", s.url, u.id),
		"gravatar_id": "", "url": api, "html_url": site, "followers_url": api + "/followers",
		"following_url": api + "/following{/other_user}", "gists_url": api + "/gists{/gist_id}",
		"starred_url": api + "/starred{/owner}{/repo}", "subscriptions_url": api + "/subscriptions",
		"organizations_url": api + "/orgs", "repos_url": api + "/repos", "events_url": api + "/events{/privacy}",
		"received_events_url": api + "/received_events", "type": u.kind, "site_admin": false, "user_view_type": "public",
	}
}

// userOrNil keeps a nil user from becoming an empty object.
func (s *Sim) userOrNil(u *user) any {
	if u == nil {
		return nil
	}
	return s.userJSON(u)
}
