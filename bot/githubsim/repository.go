package githubsim

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

type repository struct {
	id            int64
	owner         *user
	name          string
	private       bool
	defaultBranch string
	parent        *repository // of a fork
	git           *gitDir
	collaborators map[string]string // lower-case login -> admin, maintain, write, triage, read
	heads         map[string]string // refs/heads/… as last seen
	pulls         []*pull
	numbers       int // issues and pull requests share them
	suites        []*suite
	diffs         map[string][]FileDiff
	bases         map[string]string // merge bases
	lineMaps      map[string]lineMap
	created       time.Time
	pushed        time.Time
}

func (r *repository) fullName() string { return r.owner.login + "/" + r.name }

// RepositoryOptions describe a repository to add.
type RepositoryOptions struct {
	// From is a local git repository whose branches and tags are copied; it is
	// only read. Empty means a repository without commits.
	From string
	// Branches are made at revisions of From (anything that git rev-parse takes
	// there: a commit, a tag, "HEAD~2", "origin/main"), by name. With Branches
	// only these are copied, with DefaultBranch among them.
	Branches map[string]string
	// DefaultBranch is From's current branch, or "main", if empty.
	DefaultBranch string
	// Public lets everybody read; the default is a private repository, where a
	// missing permission shows.
	Public bool
	// UserOwned makes the owner a person; it is an organisation otherwise.
	UserOwned bool
}

// AddRepository makes a repository in Options.Dir.
func (s *Sim) AddRepository(ctx context.Context, owner, name string, opts RepositoryOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.find(owner, name) != nil {
		return fmt.Errorf("add repository %s/%s: it exists", owner, name)
	}
	kind := "Organization"
	if opts.UserOwned {
		kind = "User"
	}
	if len(opts.Branches) > 0 && opts.Branches[opts.DefaultBranch] == "" {
		return fmt.Errorf("add repository %s/%s: the default branch %q is not among Branches", owner, name, opts.DefaultBranch)
	}
	r, err := s.newRepository(ctx, s.user(owner, kind), name, opts.From, opts.DefaultBranch, opts.Branches)
	if err != nil {
		return fmt.Errorf("add repository %s/%s: %w", owner, name, err)
	}
	r.private = !opts.Public
	s.touch()
	return nil
}

func (s *Sim) newRepository(ctx context.Context, owner *user, name, from, branch string, branches map[string]string) (*repository, error) {
	id := s.id("repository")
	dir := filepath.Join(s.opts.Dir, fmt.Sprintf("%d.git", id))
	if err := os.RemoveAll(dir); err != nil { // of an earlier Sim in the same folder
		return nil, err
	}
	switch {
	case from == "", len(branches) > 0:
		if branch == "" {
			branch = "main"
		}
		if _, err := runGit(ctx, "", nil, nil, "init", "-q", "--bare", "--initial-branch="+branch, dir); err != nil {
			return nil, err
		}
		if len(branches) > 0 {
			if err := copyBranches(ctx, from, dir, branches); err != nil {
				return nil, err
			}
		}
	default:
		from, err := filepath.Abs(from)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(from); err != nil {
			return nil, err
		}
		// --no-local copies over git's protocol: objects of alternates come along and nothing is shared.
		if _, err := runGit(ctx, "", nil, nil, "clone", "-q", "--bare", "--no-local", "--upload-pack", uploadPack, from, dir); err != nil {
			return nil, err
		}
		if branch == "" {
			out, err := runGit(ctx, dir, nil, nil, "symbolic-ref", "--short", "HEAD")
			branch = strings.TrimSpace(string(out))
			if err != nil || branch == "" {
				branch = "main"
			}
		}
	}
	r := &repository{
		id: id, owner: owner, name: name, defaultBranch: branch, git: &gitDir{path: dir},
		collaborators: map[string]string{}, diffs: map[string][]FileDiff{}, bases: map[string]string{}, lineMaps: map[string]lineMap{}, created: s.now(), pushed: s.now(),
	}
	var err error
	if r.heads, err = r.git.refs(ctx, "refs/heads/"); err != nil {
		return nil, err
	}
	s.repos = append(s.repos, r)
	return r, nil
}

// uploadPack reads a local repository, also one of another user, and gives
// every commit that is asked for.
const uploadPack = "git -c uploadpack.allowAnySHA1InWant=true -c safe.directory='*' upload-pack"

// copyBranches fetches revisions of a local repository, which is only read.
func copyBranches(ctx context.Context, from, dir string, branches map[string]string) error {
	from, err := filepath.Abs(from)
	if err != nil {
		return err
	}
	// A commit may be asked for by name whether a branch leads to it or not.
	args := []string{"fetch", "-q", "--no-tags", "--no-write-fetch-head", "--upload-pack", uploadPack, from}
	for branch, rev := range branches {
		if strings.HasPrefix(rev, "-") {
			return fmt.Errorf("revision %q", rev)
		}
		cmd := gitCommand(ctx, "", "-C", from, "rev-parse", "--verify", "-q", rev+"^{commit}")
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("revision %q of %s: no such commit", rev, from)
		}
		args = append(args, "+"+strings.TrimSpace(string(out))+":refs/heads/"+branch)
	}
	_, err = runGit(ctx, dir, nil, nil, args...)
	return err
}

// Fork copies a repository to another owner, who is a person.
func (s *Sim) Fork(ctx context.Context, owner, name, forkOwner string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	parent := s.find(owner, name)
	if parent == nil {
		return fmt.Errorf("fork %s/%s: no such repository", owner, name)
	}
	if s.find(forkOwner, name) != nil {
		return fmt.Errorf("fork %s/%s: %s has a repository of that name", owner, name, forkOwner)
	}
	r, err := s.newRepository(ctx, s.user(forkOwner, "User"), name, parent.git.path, parent.defaultBranch, nil)
	if err != nil {
		return fmt.Errorf("fork %s/%s: %w", owner, name, err)
	}
	r.parent, r.private = parent, parent.private
	r.collaborators[strings.ToLower(forkOwner)] = "admin"
	s.touch()
	return nil
}

// GitDir is the folder of a repository, to push to with git; Refresh must
// follow. It is "" if there is no such repository.
func (s *Sim) GitDir(owner, name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.find(owner, name); r != nil {
		return r.git.path
	}
	return ""
}

// Rename renames a repository or gives it to another owner. Its old name
// answers with a redirect, as long as nobody else takes it.
func (s *Sim) Rename(owner, name, newOwner, newName string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(owner, name)
	if r == nil {
		return fmt.Errorf("rename %s/%s: no such repository", owner, name)
	}
	if s.find(newOwner, newName) != nil {
		return fmt.Errorf("rename %s/%s: %s/%s exists", owner, name, newOwner, newName)
	}
	s.moved[strings.ToLower(r.fullName())] = r
	delete(s.moved, strings.ToLower(newOwner+"/"+newName))
	oldOwner, oldName := r.owner, r.name
	r.owner, r.name = s.user(newOwner, "Organization"), newName
	if r.owner != oldOwner {
		s.emit(r, "repository", "transferred", oldOwner, obj{"changes": obj{"owner": obj{"from": obj{"organization": s.userJSON(oldOwner)}}}})
	} else {
		s.emit(r, "repository", "renamed", oldOwner, obj{"changes": obj{"repository": obj{"name": obj{"from": oldName}}}})
	}
	s.touch()
	return nil
}

// SetPermission gives a person a role in a repository: admin, maintain, write,
// triage, read, or none.
func (s *Sim) SetPermission(owner, name, login, role string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(owner, name)
	if r == nil {
		return fmt.Errorf("permission in %s/%s: no such repository", owner, name)
	}
	s.user(login, "")
	r.collaborators[strings.ToLower(login)] = role
	return nil
}

// role gives what a person may do in a repository: the owner everything, all
// others what SetPermission says, else reading if it is public.
func (r *repository) role(u *user) string {
	if u == nil {
		return "none"
	}
	if u == r.owner {
		return "admin"
	}
	if role := r.collaborators[strings.ToLower(u.login)]; role != "" {
		return role
	}
	if r.private {
		return "none"
	}
	return "read"
}

func (r *repository) mayPush(u *user) bool {
	return slices.Contains([]string{"admin", "maintain", "write"}, r.role(u))
}

func (s *Sim) find(owner, name string) *repository {
	for _, r := range s.repos {
		if strings.EqualFold(r.owner.login, owner) && strings.EqualFold(r.name, name) {
			return r
		}
	}
	return nil
}

// CommitOptions describe a commit that a person pushes.
type CommitOptions struct {
	Branch  string            // the default branch if empty
	From    string            // where a new branch starts, the default branch's tip if empty
	Force   bool              // the branch is first put back to From
	Message string            // "Change files" if empty
	Files   map[string]string // whole new contents by path
	Modes   map[string]string // by path, for files that are not 100644: "100755", "120000"
	Delete  []string          // paths
	Author  string            // login; "octocat" if empty
}

// Commit makes a commit and pushes it to a branch, with all that follows:
// pull requests whose head it is move, and webhooks are sent. It gives the
// commit's name.
func (s *Sim) Commit(ctx context.Context, owner, name string, opts CommitOptions) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(owner, name)
	if r == nil {
		return "", fmt.Errorf("commit to %s/%s: no such repository", owner, name)
	}
	branch := opts.Branch
	if branch == "" {
		branch = r.defaultBranch
	}
	ref := "refs/heads/" + branch
	parent := r.heads[ref]
	if parent == "" || opts.Force {
		parent = r.heads["refs/heads/"+r.defaultBranch]
		if opts.From != "" {
			if parent = r.git.commitSHA(opts.From); parent == "" {
				return "", fmt.Errorf("commit to %s: no commit %q", r.fullName(), opts.From)
			}
		}
	}
	author := opts.Author
	if author == "" {
		author = "octocat"
	}
	message := opts.Message
	if message == "" {
		message = "Change files"
	}
	var changes []change
	for p, text := range opts.Files {
		changes = append(changes, change{Path: p, Data: []byte(text), Mode: opts.Modes[p]})
	}
	for _, p := range opts.Delete {
		changes = append(changes, change{Path: p, Delete: true})
	}
	slices.SortFunc(changes, func(a, b change) int { return strings.Compare(a.Path, b.Path) })
	u := s.user(author, "")
	sha, err := r.git.writeCommit(parent, changes, message, s.signature(u), s.signature(u))
	if err != nil {
		return "", fmt.Errorf("commit to %s: %w", r.fullName(), err)
	}
	if err := s.push(ctx, r, ref, sha, u); err != nil {
		return "", fmt.Errorf("commit to %s: %w", r.fullName(), err)
	}
	return sha, nil
}

// Push puts a branch on a commit that the repository has already, as a push
// (forced if need be) by login. An empty sha deletes the branch.
func (s *Sim) Push(ctx context.Context, owner, name, branch, sha, login string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(owner, name)
	if r == nil {
		return fmt.Errorf("push to %s/%s: no such repository", owner, name)
	}
	if sha != "" {
		full := r.git.commitSHA(sha)
		if full == "" {
			return fmt.Errorf("push to %s: no commit %q", r.fullName(), sha)
		}
		sha = full
	}
	if err := s.push(ctx, r, "refs/heads/"+branch, sha, s.user(login, "")); err != nil {
		return fmt.Errorf("push to %s: %w", r.fullName(), err)
	}
	return nil
}

// Refresh looks at the branches after something was pushed to GitDir with git,
// and does what follows on a push by login.
func (s *Sim) Refresh(ctx context.Context, owner, name, login string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.find(owner, name)
	if r == nil {
		return fmt.Errorf("refresh %s/%s: no such repository", owner, name)
	}
	if err := s.refresh(ctx, r, s.user(login, "")); err != nil {
		return fmt.Errorf("refresh %s: %w", r.fullName(), err)
	}
	return nil
}

func (s *Sim) signature(u *user) signature {
	return signature{Name: u.login, Email: fmt.Sprintf("%d+%s@users.noreply.github.com", u.id, u.login), When: s.now()}
}

func (s *Sim) push(ctx context.Context, r *repository, ref, sha string, pusher *user) error {
	args := []string{"update-ref", ref, sha}
	if sha == "" {
		args = []string{"update-ref", "-d", ref}
	}
	if _, err := r.git.run(ctx, args...); err != nil {
		return err
	}
	heads := maps.Clone(r.heads)
	if heads[ref] = sha; sha == "" {
		delete(heads, ref)
	}
	return s.pushed(ctx, r, heads, pusher)
}

func (s *Sim) refresh(ctx context.Context, r *repository, pusher *user) error {
	heads, err := r.git.refs(ctx, "refs/heads/")
	if err != nil {
		return err
	}
	return s.pushed(ctx, r, heads, pusher)
}

// pushed is what follows when the branches of a repository are these now.
func (s *Sim) pushed(ctx context.Context, r *repository, heads map[string]string, pusher *user) error {
	before := r.heads
	r.heads = heads
	var names []string
	for ref, sha := range heads {
		if before[ref] != sha {
			names = append(names, ref)
		}
	}
	for ref := range before {
		if heads[ref] == "" {
			names = append(names, ref)
		}
	}
	slices.Sort(names)
	const none = "0000000000000000000000000000000000000000"
	for _, ref := range names {
		r.pushed = s.now()
		old, sha := before[ref], heads[ref]
		if old == "" {
			old = none
		}
		after := sha
		if after == "" {
			after = none
		}
		s.emit(r, "push", "", pusher, obj{
			"ref": ref, "before": old, "after": after, "created": old == none, "deleted": after == none,
			"forced": old != none && after != none && !r.git.isAncestor(ctx, old, after),
			"pusher": obj{"name": pusher.login, "email": s.signature(pusher).Email}, "commits": []any{}, "head_commit": nil, "base_ref": nil,
			"compare": fmt.Sprintf("%s/%s/compare/%.12s...%.12s", s.url, r.fullName(), old, after),
		})
		if sha != "" {
			s.requestSuites(r, sha)
		}
		branch := strings.TrimPrefix(ref, "refs/heads/")
		for _, base := range s.repos {
			for _, p := range base.pulls {
				if p.headRepo == r && p.headRef == branch && p.state == "open" && sha != "" && sha != p.head {
					if err := s.pullMoved(ctx, p, sha, pusher); err != nil {
						return err
					}
				}
			}
		}
	}
	s.touch()
	return nil
}

// diff is gitDir.diff, remembered: objects never change.
func (r *repository) diff(ctx context.Context, base, head string) ([]FileDiff, error) {
	key := base + ".." + head
	if files, known := r.diffs[key]; known {
		return files, nil
	}
	files, err := r.git.diff(ctx, base, head)
	if err != nil {
		return nil, err
	}
	if len(r.diffs) >= 500 {
		clear(r.diffs) // rare, and they are made again
	}
	r.diffs[key] = files
	return files, nil
}

// mergeBase is gitDir.mergeBase, remembered.
func (r *repository) mergeBase(ctx context.Context, a, b string) string {
	key := a + " " + b
	base, known := r.bases[key]
	if !known {
		if base = r.git.mergeBase(ctx, a, b); base == "" {
			return "" // perhaps only the context was over
		}
		if len(r.bases) >= 5000 {
			clear(r.bases)
		}
		r.bases[key] = base
	}
	return base
}

// lineMap is gitDir.lineMap, remembered.
func (r *repository) lineMap(ctx context.Context, oldBlob, newBlob string) (lineMap, error) {
	key := oldBlob + " " + newBlob
	if m, known := r.lineMaps[key]; known {
		return m, nil
	}
	m, err := r.git.lineMap(ctx, oldBlob, newBlob)
	if err != nil {
		return lineMap{}, err
	}
	if len(r.lineMaps) >= 5000 {
		clear(r.lineMaps)
	}
	r.lineMaps[key] = m
	return m, nil
}

// ---- REST

func (s *Sim) getRepository(c *call) reply { return ok(s.repositoryJSON(c.repo)) }

// byID answers /repositories/{id}/…, where renamed repositories redirect to.
func (s *Sim) byID(c *call) reply {
	id := c.number("id")
	for _, r := range s.repos {
		if r.id != id {
			continue
		}
		c.repo = r
		if rep, stop := s.permit(c); stop {
			return rep
		}
		rest := c.path("rest")
		if rest == "" {
			return s.getRepository(c)
		}
		// The same request by name; routing starts anew with the repository's path.
		inner := withPath(c.r, fmt.Sprintf("/repos/%s/%s/%s", url.PathEscape(r.owner.login), url.PathEscape(r.name), rest))
		return s.dispatch(c, inner)
	}
	return notFound()
}

func wantsRaw(c *call) bool {
	accept := c.r.Header.Get("Accept")
	return strings.Contains(accept, ".raw")
}

const rawMedia = "application/vnd.github.raw; charset=utf-8"

// base64Lines is base64 as GitHub sends it: 60 characters a line.
func base64Lines(data []byte) string {
	s := base64.StdEncoding.EncodeToString(data)
	var b strings.Builder
	for len(s) > 60 {
		b.WriteString(s[:60] + "\n")
		s = s[60:]
	}
	if s != "" {
		b.WriteString(s + "\n")
	}
	return b.String()
}

func isSHA(s string) bool {
	return len(s) == 40 && strings.Trim(s, "0123456789abcdef") == ""
}

func (s *Sim) getBlob(c *call) reply {
	sha := c.path("file_sha")
	if !isSHA(sha) {
		return refuse(http.StatusUnprocessableEntity, "The sha parameter must be exactly 40 characters and contain only [0-9a-f].", "rest/git/blobs#get-a-blob")
	}
	o, err := c.repo.git.object(sha)
	if err != nil || o.Type != "blob" {
		return refuse(http.StatusNotFound, "Not Found", "rest/git/blobs#get-a-blob")
	}
	if len(o.Data) > 100<<20 {
		return refuse(http.StatusForbidden, "This API returns blobs up to 100 MB in size.", "rest/git/blobs#get-a-blob")
	}
	if wantsRaw(c) {
		return reply{status: http.StatusOK, raw: o.Data, media: rawMedia}
	}
	return ok(obj{
		"sha": sha, "node_id": nodeID("B", c.repo.id) + sha, "size": len(o.Data), "url": s.repoURL(c.repo) + "/git/blobs/" + sha,
		"content": base64Lines(o.Data), "encoding": "base64",
	})
}

func (s *Sim) repoURL(r *repository) string { return s.url + "/repos/" + r.fullName() }
func (s *Sim) siteURL(r *repository) string { return s.url + "/" + r.fullName() }

func (s *Sim) getContents(c *call) reply {
	const page = "rest/repos/contents#get-repository-content"
	name := strings.Trim(c.path("path"), "/")
	ref := c.r.URL.Query().Get("ref")
	if ref == "" {
		ref = c.repo.defaultBranch
	}
	sha := c.repo.git.commitSHA(ref)
	if sha == "" {
		return refuse(http.StatusNotFound, "No commit found for the ref "+ref, page)
	}
	if slices.Contains(strings.Split(name, "/"), "..") {
		return refuse(http.StatusNotFound, "Not Found", page)
	}
	entry := treeEntry{Type: "tree", Path: ""}
	if name != "" {
		parent := path.Dir(name)
		if parent == "." {
			parent = ""
		}
		list, err := c.repo.git.tree(c.ctx, sha+":"+parent, false)
		if err != nil {
			return refuse(http.StatusNotFound, "Not Found", page)
		}
		i := slices.IndexFunc(list, func(e treeEntry) bool { return e.Path == path.Base(name) })
		if i < 0 {
			return refuse(http.StatusNotFound, "Not Found", page)
		}
		entry = list[i]
		entry.Path = name
	}
	if entry.Type == "tree" {
		list, err := c.repo.git.tree(c.ctx, sha+":"+name, false)
		if err != nil {
			return refuse(http.StatusNotFound, "Not Found", page)
		}
		out := []any{}
		for _, e := range list {
			if len(out) == 1000 { // the documented limit of a directory
				break
			}
			e.Path = path.Join(name, e.Path)
			out = append(out, s.contentJSON(c.repo, ref, e))
		}
		return ok(out)
	}
	o := s.contentJSON(c.repo, ref, entry)
	if entry.Type == "commit" {
		o["submodule_git_url"] = nil
		return ok(o)
	}
	blob, err := c.repo.git.object(entry.SHA)
	if err != nil {
		return refuse(http.StatusNotFound, "Not Found", page)
	}
	switch {
	case len(blob.Data) > 100<<20:
		return refuse(http.StatusForbidden, "This API returns blobs up to 100 MB in size.", page)
	case wantsRaw(c):
		return reply{status: http.StatusOK, raw: blob.Data, media: rawMedia}
	case o["type"] == "symlink":
		o["target"] = string(blob.Data)
	case len(blob.Data) > 1<<20: // 1-100 MB: only raw has the text
		o["content"], o["encoding"] = "", "none"
	default:
		o["content"], o["encoding"] = base64Lines(blob.Data), "base64"
	}
	return ok(o)
}

func (s *Sim) contentJSON(r *repository, ref string, e treeEntry) obj {
	kind := map[string]string{"tree": "dir", "commit": "submodule"}[e.Type]
	if kind == "" {
		kind = "file"
	}
	if e.Mode == "120000" {
		kind = "symlink"
	}
	escaped := (&url.URL{Path: e.Path}).EscapedPath()
	self := s.repoURL(r) + "/contents/" + escaped + "?ref=" + url.QueryEscape(ref)
	git := s.repoURL(r) + "/git/blobs/" + e.SHA
	html := s.siteURL(r) + "/blob/" + ref + "/" + escaped
	var download any = s.siteURL(r) + "/raw/" + ref + "/" + escaped
	if kind == "dir" {
		git, html, download = s.repoURL(r)+"/git/trees/"+e.SHA, s.siteURL(r)+"/tree/"+ref+"/"+escaped, nil
	}
	return obj{
		"type": kind, "size": max(e.Size, 0), "name": path.Base(e.Path), "path": e.Path, "sha": e.SHA, "url": self,
		"git_url": git, "html_url": html, "download_url": download,
		"_links": obj{"self": self, "git": git, "html": html},
	}
}

func (s *Sim) getTree(c *call) reply {
	const page = "rest/git/trees#get-a-tree"
	rev := c.path("tree_sha")
	sha := ""
	if isSHA(rev) {
		if o, err := c.repo.git.object(rev + "^{tree}"); err == nil {
			sha = o.SHA
		}
	} else if commit := c.repo.git.commitSHA(rev); commit != "" {
		if o, err := c.repo.git.object(commit + "^{tree}"); err == nil {
			sha = o.SHA
		}
	}
	if sha == "" {
		return refuse(http.StatusNotFound, "Not Found", page)
	}
	recursive := c.r.URL.Query().Has("recursive") // any value, even 0 or false, as documented
	list, err := c.repo.git.tree(c.ctx, sha, recursive)
	if err != nil {
		return refuse(http.StatusNotFound, "Not Found", page)
	}
	return ok(s.treeJSON(c.repo, sha, list))
}

func (s *Sim) treeJSON(r *repository, sha string, list []treeEntry) obj {
	const most = 100_000 // the documented limit of a recursive listing
	truncated := len(list) > most
	out := []any{}
	for _, e := range list[:min(len(list), most)] {
		o := obj{"path": e.Path, "mode": e.Mode, "type": e.Type, "sha": e.SHA}
		switch e.Type {
		case "blob":
			o["size"], o["url"] = e.Size, s.repoURL(r)+"/git/blobs/"+e.SHA
		case "tree":
			o["url"] = s.repoURL(r) + "/git/trees/" + e.SHA
		}
		out = append(out, o)
	}
	return obj{"sha": sha, "url": s.repoURL(r) + "/git/trees/" + sha, "tree": out, "truncated": truncated}
}

// tarball redirects to another address, as GitHub does to codeload.
func (s *Sim) tarball(c *call) reply {
	ref := c.path("ref")
	if ref == "" {
		ref = c.repo.defaultBranch
	}
	sha := c.repo.git.commitSHA(ref)
	if sha == "" {
		return refuse(http.StatusNotFound, "Not Found", "rest/repos/contents#download-a-repository-archive-tar")
	}
	ticket := digest(append([]byte("archive "+sha), s.secret...))[:32]
	to := fmt.Sprintf("%s/_codeload/%d/%s?token=%s", s.url, c.repo.id, sha, ticket)
	return reply{status: http.StatusFound}.with("Location", to)
}

func (s *Sim) codeload(c *call) reply {
	sha := c.path("sha")
	if c.r.URL.Query().Get("token") != digest(append([]byte("archive "+sha), s.secret...))[:32] {
		return notFound()
	}
	id := c.number("id")
	for _, r := range s.repos {
		if r.id != id {
			continue
		}
		dir, prefix := r.git.path, fmt.Sprintf("%s-%s-%.7s/", r.owner.login, r.name, sha)
		return reply{
			status: http.StatusOK, header: http.Header{"Content-Type": {"application/x-gzip"}},
			later: func(ctx context.Context, w io.Writer) error {
				cmd := gitCommand(ctx, dir, "archive", "--format=tar.gz", "--prefix="+prefix, sha)
				cmd.Stdout = w
				if err := cmd.Run(); err != nil {
					return fmt.Errorf("git archive: %w", err)
				}
				return nil
			},
		}
	}
	return notFound()
}

func (s *Sim) getRef(c *call) reply {
	refs, err := c.repo.git.refs(c.ctx, "refs/")
	name := "refs/" + c.path("ref")
	sha := refs[name]
	if err != nil || sha == "" {
		return refuse(http.StatusNotFound, "Not Found", "rest/git/refs#get-a-reference")
	}
	return ok(s.refJSON(c.repo, name, sha))
}

func (s *Sim) matchingRefs(c *call) reply {
	refs, err := c.repo.git.refs(c.ctx, "refs/")
	if err != nil {
		return refuse(http.StatusConflict, "Git Repository is empty.", "rest/git/refs#list-matching-references")
	}
	var names []string
	for name := range refs {
		if strings.HasPrefix(name, "refs/"+c.path("ref")) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return listed(c, names, func(name string) any { return s.refJSON(c.repo, name, refs[name]) })
}

func (s *Sim) refJSON(r *repository, name, sha string) obj {
	kind := "commit"
	if o, err := r.git.object(sha); err == nil {
		kind = o.Type
	}
	return obj{
		"ref": name, "node_id": nodeID("REF", r.id) + digest([]byte(name))[:12], "url": s.repoURL(r) + "/git/" + name,
		"object": obj{"type": kind, "sha": sha, "url": s.repoURL(r) + "/git/" + kind + "s/" + sha},
	}
}

func (s *Sim) updateRef(c *call) reply {
	const page = "rest/git/refs#update-a-reference"
	var want struct {
		SHA   string `json:"sha"`
		Force bool   `json:"force"`
	}
	if rep, okay := decode(c, &want); !okay {
		return rep
	}
	name := "refs/" + c.path("ref")
	old := c.repo.heads[name]
	if old == "" {
		return refuse(http.StatusUnprocessableEntity, "Reference does not exist", page)
	}
	sha := c.repo.git.commitSHA(want.SHA)
	if sha == "" || !isSHA(want.SHA) {
		return refuse(http.StatusUnprocessableEntity, "Object does not exist", page)
	}
	if !want.Force && !c.repo.git.isAncestor(c.ctx, old, sha) {
		return refuse(http.StatusUnprocessableEntity, "Update is not a fast forward", page)
	}
	if err := s.push(c.ctx, c.repo, name, sha, c.caller.user()); err != nil {
		return s.broken(err)
	}
	return ok(s.refJSON(c.repo, name, sha))
}

// broken is the answer when git itself fails.
func (s *Sim) broken(err error) reply {
	s.log.Error("git", "err", err)
	return refuse(http.StatusInternalServerError, "Server Error", "rest")
}

func (s *Sim) getGitCommit(c *call) reply {
	info, err := c.repo.git.commit(c.path("commit_sha"))
	if err != nil {
		return refuse(http.StatusNotFound, "Not Found", "rest/git/commits#get-a-commit-object")
	}
	return ok(s.gitCommitJSON(c.repo, info))
}

func (s *Sim) gitCommitJSON(r *repository, info commitInfo) obj {
	parents := []any{}
	for _, p := range info.Parents {
		parents = append(parents, obj{"sha": p, "url": s.repoURL(r) + "/git/commits/" + p, "html_url": s.siteURL(r) + "/commit/" + p})
	}
	return obj{
		"sha": info.SHA, "node_id": nodeID("C", r.id) + info.SHA, "url": s.repoURL(r) + "/git/commits/" + info.SHA,
		"html_url": s.siteURL(r) + "/commit/" + info.SHA, "author": info.Author.json(), "committer": info.Committer.json(),
		"tree": obj{"sha": info.Tree, "url": s.repoURL(r) + "/git/trees/" + info.Tree}, "message": info.Message, "parents": parents,
		"verification": unsigned(),
	}
}

func unsigned() obj {
	return obj{"verified": false, "reason": "unsigned", "signature": nil, "payload": nil, "verified_at": nil}
}

func (g signature) json() obj { return obj{"name": g.Name, "email": g.Email, "date": stamp(g.When)} }

func (s *Sim) commitJSON(r *repository, info commitInfo) obj {
	parents := []any{}
	for _, p := range info.Parents {
		parents = append(parents, obj{"sha": p, "url": s.repoURL(r) + "/commits/" + p, "html_url": s.siteURL(r) + "/commit/" + p})
	}
	person := func(g signature) any { return s.userOrNil(s.users[strings.ToLower(g.Name)]) }
	return obj{
		"sha": info.SHA, "node_id": nodeID("C", r.id) + info.SHA, "url": s.repoURL(r) + "/commits/" + info.SHA,
		"html_url": s.siteURL(r) + "/commit/" + info.SHA, "comments_url": s.repoURL(r) + "/commits/" + info.SHA + "/comments",
		"commit": obj{
			"url": s.repoURL(r) + "/git/commits/" + info.SHA, "author": info.Author.json(), "committer": info.Committer.json(),
			"message": info.Message, "comment_count": 0, "tree": obj{"sha": info.Tree, "url": s.repoURL(r) + "/git/trees/" + info.Tree},
			"verification": unsigned(),
		},
		"author": person(info.Author), "committer": person(info.Committer), "parents": parents,
	}
}

// commitTails are the endpoints behind a commit, by the ends of their paths.
var commitTails = []struct {
	suffix, name, permission string
	handle                   func(*Sim, *call, string) reply
}{
	{"/check-runs", "/repos/{owner}/{repo}/commits/{ref}/check-runs", "checks", (*Sim).listCheckRuns},
	{"/check-suites", "/repos/{owner}/{repo}/commits/{ref}/check-suites", "checks", (*Sim).listCheckSuites},
	{"/pulls", "/repos/{owner}/{repo}/commits/{commit_sha}/pulls", "pull_requests", (*Sim).pullsOfCommit},
}

// commitsTree answers everything below /commits/, since a ref may hold slashes.
func (s *Sim) commitsTree(c *call) reply {
	rest := c.path("rest")
	for _, tail := range commitTails {
		if ref, found := strings.CutSuffix(rest, tail.suffix); found {
			narrower := *c.route
			narrower.permission = tail.permission
			narrower.name = tail.name // as Calls shows it
			c.route = &narrower
			if rep, stop := s.permit(c); stop {
				return rep
			}
			return tail.handle(s, c, ref)
		}
	}
	sha := c.repo.git.commitSHA(rest)
	if sha == "" {
		return refuse(http.StatusUnprocessableEntity, "No commit found for SHA: "+rest, "rest/commits/commits#get-a-commit")
	}
	info, err := c.repo.git.commit(sha)
	if err != nil {
		return s.broken(err)
	}
	o := s.commitJSON(c.repo, info)
	base := ""
	if len(info.Parents) > 0 {
		base = info.Parents[0]
	} else if empty, err := c.repo.git.write("tree", nil); err == nil {
		base = empty
	}
	files, err := c.repo.diff(c.ctx, base, sha)
	if err != nil {
		return s.broken(err)
	}
	list, plus, minus := s.filesJSON(c.repo, sha, files)
	o["files"], o["stats"] = list, obj{"total": plus + minus, "additions": plus, "deletions": minus}
	return ok(o)
}

func (s *Sim) filesJSON(r *repository, head string, files []FileDiff) (list []any, plus, minus int) {
	list = []any{}
	budget := s.opts.Limits.PageBytes
	for _, f := range files {
		plus, minus = plus+f.Additions, minus+f.Deletions
		list = append(list, s.fileJSON(r, head, f, &budget))
	}
	return list, plus, minus
}

func (s *Sim) compare(c *call) reply {
	const page = "rest/commits/commits#compare-two-commits"
	base, head, okay := strings.Cut(c.path("basehead"), "...")
	if !okay {
		return refuse(http.StatusNotFound, "Not Found", page)
	}
	resolve := func(name string) string {
		if _, ref, okay := strings.Cut(name, ":"); okay {
			name = ref
		}
		return c.repo.git.commitSHA(name)
	}
	a, b := resolve(base), resolve(head)
	if a == "" || b == "" {
		return refuse(http.StatusNotFound, "Not Found", page)
	}
	merge := c.repo.mergeBase(c.ctx, a, b)
	if merge == "" {
		return refuse(http.StatusNotFound, fmt.Sprintf("No common ancestor between %s and %s.", base, head), page)
	}
	ahead, err1 := c.repo.git.commits(c.ctx, merge, b)
	behind, err2 := c.repo.git.commits(c.ctx, merge, a)
	files, err3 := c.repo.diff(c.ctx, merge, b)
	baseInfo, err4 := c.repo.git.commit(a)
	mergeInfo, err5 := c.repo.git.commit(merge)
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return s.broken(err)
	}
	status := "diverged"
	switch {
	case len(ahead) == 0 && len(behind) == 0:
		status = "identical"
	case len(behind) == 0:
		status = "ahead"
	case len(ahead) == 0:
		status = "behind"
	}
	commits := []any{}
	for _, info := range ahead[:min(len(ahead), 250)] {
		commits = append(commits, s.commitJSON(c.repo, info))
	}
	list, _, _ := s.filesJSON(c.repo, b, files[:min(len(files), 300)])
	self := s.repoURL(c.repo) + "/compare/" + base + "..." + head
	site := s.siteURL(c.repo) + "/compare/" + base + "..." + head
	return ok(obj{
		"url": self, "html_url": site, "permalink_url": fmt.Sprintf("%s/compare/%.7s...%.7s", s.siteURL(c.repo), a, b),
		"diff_url": site + ".diff", "patch_url": site + ".patch", "base_commit": s.commitJSON(c.repo, baseInfo),
		"merge_base_commit": s.commitJSON(c.repo, mergeInfo), "status": status, "ahead_by": len(ahead), "behind_by": len(behind),
		"total_commits": len(ahead), "commits": commits, "files": list,
	})
}

func (s *Sim) collaboratorPermission(c *call) reply {
	u := s.users[strings.ToLower(c.path("username"))]
	if u == nil {
		return refuse(http.StatusNotFound, c.path("username")+" is not a user", "rest/collaborators/collaborators#get-repository-permissions-for-a-user")
	}
	role := c.repo.role(u)
	permission := map[string]string{"maintain": "write", "triage": "read"}[role]
	if permission == "" {
		permission = role
	}
	o := s.userJSON(u)
	o["role_name"] = role
	o["permissions"] = obj{
		"pull": role != "none", "triage": role != "none" && role != "read", "push": permission == "write" || permission == "admin",
		"maintain": role == "maintain" || role == "admin", "admin": role == "admin",
	}
	return ok(obj{"permission": permission, "role_name": role, "user": o})
}

func (s *Sim) repositoryJSON(r *repository) obj {
	api, site := s.repoURL(r), s.siteURL(r)
	visibility := "public"
	if r.private {
		visibility = "private"
	}
	forks := 0
	for _, x := range s.repos {
		if x.parent == r {
			forks++
		}
	}
	open := 0
	for _, p := range r.pulls {
		if p.state == "open" {
			open++
		}
	}
	host := strings.TrimPrefix(strings.TrimPrefix(s.url, "http://"), "https://")
	o := obj{
		"id": r.id, "node_id": nodeID("R", r.id), "name": r.name, "full_name": r.fullName(), "private": r.private, "owner": s.userJSON(r.owner),
		"html_url": site, "description": nil, "fork": r.parent != nil, "url": api,
		"git_url": "git://" + host + "/" + r.fullName() + ".git", "ssh_url": "git@" + host + ":" + r.fullName() + ".git",
		"clone_url": site + ".git", "svn_url": site, "mirror_url": nil, "homepage": nil, "language": nil, "license": nil,
		"forks": forks, "forks_count": forks, "stargazers_count": 0, "watchers": 0, "watchers_count": 0, "size": 1,
		"open_issues": open, "open_issues_count": open, "network_count": forks, "subscribers_count": 0, "default_branch": r.defaultBranch,
		"is_template": false, "topics": []any{}, "visibility": visibility, "archived": false, "disabled": false, "allow_forking": true,
		"web_commit_signoff_required": false, "has_issues": true, "has_projects": false, "has_wiki": false, "has_pages": false,
		"has_downloads": false, "has_discussions": false, "created_at": stamp(r.created), "updated_at": stamp(r.pushed), "pushed_at": stamp(r.pushed),
	}
	for key, tail := range map[string]string{
		"archive_url": "/{archive_format}{/ref}", "assignees_url": "/assignees{/user}", "blobs_url": "/git/blobs{/sha}",
		"branches_url": "/branches{/branch}", "collaborators_url": "/collaborators{/collaborator}", "comments_url": "/comments{/number}",
		"commits_url": "/commits{/sha}", "compare_url": "/compare/{base}...{head}", "contents_url": "/contents/{+path}",
		"contributors_url": "/contributors", "deployments_url": "/deployments", "downloads_url": "/downloads", "events_url": "/events",
		"forks_url": "/forks", "git_commits_url": "/git/commits{/sha}", "git_refs_url": "/git/refs{/sha}", "git_tags_url": "/git/tags{/sha}",
		"hooks_url": "/hooks", "issue_comment_url": "/issues/comments{/number}", "issue_events_url": "/issues/events{/number}",
		"issues_url": "/issues{/number}", "keys_url": "/keys{/key_id}", "labels_url": "/labels{/name}", "languages_url": "/languages",
		"merges_url": "/merges", "milestones_url": "/milestones{/number}", "notifications_url": "/notifications{?since,all,participating}",
		"pulls_url": "/pulls{/number}", "releases_url": "/releases{/id}", "stargazers_url": "/stargazers", "statuses_url": "/statuses/{sha}",
		"subscribers_url": "/subscribers", "subscription_url": "/subscription", "tags_url": "/tags", "teams_url": "/teams",
		"trees_url": "/git/trees{/sha}",
	} {
		o[key] = api + tail
	}
	return o
}
