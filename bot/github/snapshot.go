package github

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"net/url"
	"path"
	"runtime/debug"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/go-github/v60/github"
	"golang.org/x/sync/errgroup"

	"github.com/dtypebot/dtypebot/analysis"
	"github.com/dtypebot/dtypebot/analysis/check"
	"github.com/dtypebot/dtypebot/analysis/patch"
	"github.com/dtypebot/dtypebot/bot"
)

const (
	maxFile  = 1 << 20  // bytes of one file that is analysed
	maxFiles = 500      // Python files of one pull request
	maxBytes = 64 << 20 // bytes of all its files that are analysed
	// maxListed is how many files GitHub lists of one pull request, ever.
	maxListed = 3000
	perPage   = 100
	// atOnce is how many files are fetched at a time; GitHub allows a hundred
	// requests at once to all of an installation.
	atOnce = 8
	// looks is how often a head that moves between two reads is read.
	looks = 3
	// settling is how long after its event a pull request may be unknown to
	// GitHub's own API.
	settling = time.Minute
)

// Snapshot reads the job's pull request: first the files, which name the head in
// their addresses; then, if a Python file is among them, everything else in one
// query. Where no Python file is touched the files alone suffice, except when
// the head may have been looked at before: then the check runs are read too, so
// that none is posted twice.
func (a *App) Snapshot(ctx context.Context, job bot.Job) (bot.Snapshot, error) {
	inst, err := a.installation(ctx, job.Installation)
	if err != nil {
		return bot.Snapshot{}, err
	}
	s := &session{installation: inst, app: a, repository: job.Repository}
	owner, name := job.Owner, job.Name
	renamed := owner == "" || name == ""
	for range looks {
		if renamed {
			if owner, name, err = s.resolve(ctx, job.Repository); err != nil {
				return bot.Snapshot{}, err
			}
			renamed = false
		}
		snapshot, err := s.look(ctx, job, owner, name)
		switch {
		case err == nil:
			snapshot.Calls = s.made()
			return snapshot, nil
		case errors.Is(err, errMoved):
			continue
		case errors.Is(err, errElsewhere):
			renamed = true
			continue
		}
		if e, ok := refused(err); ok && e.Status == http.StatusNotFound {
			newOwner, newName, err := s.resolve(ctx, job.Repository)
			if err != nil {
				return bot.Snapshot{}, err
			}
			if newOwner == owner && newName == name {
				if time.Since(job.Accepted) < settling {
					return bot.Snapshot{}, bot.Retry{After: afterMoved, Err: e}
				}
				return bot.Snapshot{}, bot.Drop{Reason: "the pull request is gone"}
			}
			owner, name = newOwner, newName
			continue
		}
		if e, ok := refused(err); ok && e.Status == http.StatusForbidden {
			return bot.Snapshot{}, bot.Drop{Reason: "the App may not read the pull request: " + e.Error()}
		}
		return bot.Snapshot{}, err
	}
	return bot.Snapshot{}, bot.Retry{After: afterMoved, Err: errMoved}
}

// State reads the head and the own check runs of the job's pull request, by REST
// alone.
func (a *App) State(ctx context.Context, job bot.Job) (bot.Snapshot, error) {
	inst, err := a.installation(ctx, job.Installation)
	if err != nil {
		return bot.Snapshot{}, err
	}
	s := &session{installation: inst, app: a}
	owner, name := job.Owner, job.Name
	if owner == "" || name == "" {
		if owner, name, err = s.resolve(ctx, job.Repository); err != nil {
			return bot.Snapshot{}, err
		}
	}
	var pull *github.PullRequest
	err = s.call("pull", func() (err error) { // GitHub redirects from former names
		pull, _, err = s.client.PullRequests.Get(ctx, owner, name, job.Pull)
		return err
	})
	if e, ok := refused(err); ok && (e.Status == http.StatusNotFound || e.Status == http.StatusForbidden) {
		return bot.Snapshot{}, bot.Drop{Reason: "the pull request is gone or closed to the App: " + e.Error()}
	}
	if err != nil {
		return bot.Snapshot{}, err
	}
	base := pull.GetBase().GetRepo()
	switch {
	case base.GetID() != job.Repository:
		return bot.Snapshot{}, bot.Drop{Reason: "the name belongs to another repository now"}
	case pull.GetState() != "open":
		return bot.Snapshot{}, bot.Drop{Reason: "the pull request is " + pull.GetState()}
	}
	snapshot := bot.Snapshot{
		Job: job, Owner: base.GetOwner().GetLogin(), Name: base.GetName(), URL: base.GetHTMLURL(), Pull: job.Pull,
		Title: pull.GetTitle(), Head: pull.GetHead().GetSHA(), Base: pull.GetBase().GetSHA(),
		State: pull.GetState(), Draft: pull.GetDraft(), Author: pull.GetUser().GetLogin(), Changed: pull.GetChangedFiles(),
		Fork: pull.GetHead().GetRepo().GetID() != base.GetID(),
	}
	var runs *github.ListCheckRunsResults
	err = s.call("check-runs", func() (err error) {
		runs, _, err = s.client.Checks.ListCheckRunsForRef(ctx, snapshot.Owner, snapshot.Name, snapshot.Head, &github.ListCheckRunsOptions{
			CheckName: github.String(bot.CheckName), Filter: github.String("all"), AppID: github.Int64(a.id),
			ListOptions: github.ListOptions{PerPage: perPage},
		})
		return err
	})
	if e, ok := refused(err); ok && (e.Status == http.StatusNotFound || e.Status == http.StatusForbidden) {
		return bot.Snapshot{}, bot.Drop{Reason: "the App may not read check runs: " + e.Error()}
	}
	if err != nil {
		return bot.Snapshot{}, err
	}
	for _, r := range runs.CheckRuns {
		snapshot.CheckRuns = append(snapshot.CheckRuns, bot.CheckRun{
			ID: r.GetID(), Status: r.GetStatus(), Conclusion: r.GetConclusion(), ExternalID: r.GetExternalID(), Head: r.GetHeadSHA(),
			Title: r.GetOutput().GetTitle(), Summary: r.GetOutput().GetSummary(),
		})
	}
	slices.SortFunc(snapshot.CheckRuns, func(a, b bot.CheckRun) int { return cmp.Compare(b.ID, a.ID) })
	snapshot.Calls = s.made()
	return snapshot, nil
}

var (
	errMoved     = errors.New("the head moved while it was read")
	errElsewhere = errors.New("the name belongs to another repository now")
)

// resolve asks for a repository's name by its id, which survives renames and
// transfers.
func (s *session) resolve(ctx context.Context, id int64) (owner, name string, err error) {
	var repo *github.Repository
	err = s.call("repository", func() (err error) {
		repo, _, err = s.client.Repositories.GetByID(ctx, id)
		return err
	})
	if e, ok := refused(err); ok && (e.Status == http.StatusNotFound || e.Status == http.StatusForbidden) {
		return "", "", bot.Drop{Reason: "the repository is deleted or no longer open to the App"}
	}
	if err != nil {
		return "", "", err
	}
	return repo.GetOwner().GetLogin(), repo.GetName(), nil
}

// A wanted file is a Python file whose text at the head is to be read.
type wanted struct {
	path, sha string
	added     bool
	patch     string
	text      *string // kept in the cache, nil if it is not
	hasPatch  bool
}

// look reads the pull request once.
func (s *session) look(ctx context.Context, job bot.Job, owner, name string) (bot.Snapshot, error) {
	s.bytes.Store(0)
	listed, head, moved, err := s.files(ctx, owner, name, job.Pull)
	if err != nil {
		return bot.Snapshot{}, err
	}
	if err := s.missingPatches(ctx, owner, name, job.Pull, listed); err != nil {
		return bot.Snapshot{}, err
	}
	files, skipped := python(listed)
	for i, f := range files {
		if text, ok := s.app.cache.get(job.Repository, f.sha); ok {
			files[i].text = &text
		}
	}
	snapshot := bot.Snapshot{
		Job:     job,
		Owner:   owner,
		Name:    name,
		Pull:    job.Pull,
		Head:    head,
		State:   "open",
		Changed: len(listed),
		Skipped: skipped,
		Deleted: deleted(listed),
		Gone:    gone(listed),
	}
	untouched := len(files) == 0 && len(skipped) == 0
	if untouched && head != "" && !moved && len(listed) < maxListed && s.app.first(job, head) {
		return snapshot, nil
	}

	st, err := s.state(ctx, owner, name, job.Pull, files)
	if err != nil {
		return bot.Snapshot{}, err
	}
	pr := st.repository.PullRequest
	switch {
	case pr == nil:
		return bot.Snapshot{}, &Error{Call: "graphql", Status: http.StatusNotFound, Message: "no such pull request"}
	case st.repository.DatabaseID != job.Repository && job.Repository != 0:
		return bot.Snapshot{}, errElsewhere
	case pr.State != "OPEN":
		return bot.Snapshot{}, bot.Drop{Reason: "the pull request is " + strings.ToLower(pr.State)}
	case moved, head != "" && head != pr.HeadRefOid, head == "" && len(listed) != min(pr.ChangedFiles, maxListed):
		return bot.Snapshot{}, errMoved
	}
	if st.head.Oid != pr.HeadRefOid {
		if err := s.readHead(ctx, owner, name, files, st); err != nil {
			return bot.Snapshot{}, err
		}
		if st.head.Oid != pr.HeadRefOid {
			return bot.Snapshot{}, errMoved
		}
	}
	for i, f := range files[:min(len(files), perQuery)] {
		if e := st.entries[i]; e == nil || e.Oid != f.sha {
			return bot.Snapshot{}, errMoved
		}
	}

	if o, n, ok := strings.Cut(st.repository.NameWithOwner, "/"); ok {
		snapshot.Owner, snapshot.Name = o, n
	}
	snapshot.URL = st.repository.URL
	snapshot.Title = pr.Title
	snapshot.Head, snapshot.Base, snapshot.BaseRef = pr.HeadRefOid, pr.BaseRefOid, pr.BaseRefName
	snapshot.Draft, snapshot.Fork = pr.IsDraft, pr.IsCrossRepository
	snapshot.AuthorOnly = pr.IsCrossRepository && !pr.MaintainerCanModify
	snapshot.HeadRef, snapshot.MayPush = pr.HeadRefName, s.granted("contents") == "write"
	snapshot.Changed = max(pr.ChangedFiles, len(listed))
	readSettings(&snapshot, pr, st.defaults)
	if pr.Author != nil {
		snapshot.Author = pr.Author.Login
	}
	if pr.ChangedFiles > maxListed {
		snapshot.Incomplete = fmt.Sprintf("GitHub lists only the first %d of %d changed files", maxListed, pr.ChangedFiles)
	}
	snapshot.CheckRuns = checkRuns(st.head)

	all, err := s.moreThreads(ctx, snapshot.Owner, snapshot.Name, job.Pull, pr.ReviewThreads)
	if err != nil {
		return bot.Snapshot{}, err
	}
	snapshot.Threads = own(all, st.viewer)
	if err := s.votes(ctx, &snapshot, all, st.viewer); err != nil {
		return bot.Snapshot{}, err
	}
	if snapshot.Ignored, err = s.ignored(ctx, snapshot.Owner, snapshot.Name, job.Pull, st.viewer, pr.Comments); err != nil {
		return bot.Snapshot{}, err
	}

	if err := s.moreBlobs(ctx, snapshot.Owner, snapshot.Name, files, st.blobs); err != nil {
		return bot.Snapshot{}, err
	}
	read := make([]analysis.File, len(files))
	reasons := make([]string, len(files))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, f := range files {
		if !snapshot.Settings.Wants(f.path) {
			snapshot.Excluded = append(snapshot.Excluded, f.path)
			continue
		}
		group.Go(func() (err error) {
			defer func() {
				// A panic here would end the process: nobody else recovers it.
				if p := recover(); p != nil {
					err = fmt.Errorf("read %s: panic: %v\n%s", f.path, p, debug.Stack())
				}
			}()
			read[i], reasons[i], err = s.file(groupCtx, snapshot.Owner, snapshot.Name, f, st.entries[i], st.blobs[i])
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return bot.Snapshot{}, err
	}
	for i, f := range files {
		if !snapshot.Settings.Wants(f.path) {
			continue
		}
		if reasons[i] != "" {
			snapshot.Skipped = append(snapshot.Skipped, check.Skip{Path: f.path, Reason: reasons[i]})
			continue
		}
		snapshot.Files = append(snapshot.Files, read[i])
	}
	return snapshot, nil
}

// readSettings reads the labels and the settings: the owner's, then those of the
// base branch. The head's are never looked at, as anybody can write those.
func readSettings(snapshot *bot.Snapshot, pr *pullRequest, defaults *settingsText) {
	if pr.Labels != nil {
		for _, l := range pr.Labels.Nodes {
			snapshot.Labels = append(snapshot.Labels, l.Name)
		}
	}
	var files []bot.SettingsFile
	add := func(name string, text *settingsText, pyproject bool) bool {
		if text == nil || text.Text == nil || text.IsTruncated {
			return false
		}
		f := bot.SettingsFile{Name: name, Text: *text.Text, Pyproject: pyproject}
		if !f.Has() {
			return false
		}
		files = append(files, f)
		snapshot.SettingsIn = append(snapshot.SettingsIn, name)
		return true
	}
	add(".github: "+bot.SettingsName, defaults, false)
	if pr.BaseRef != nil && pr.BaseRef.Target != nil {
		snapshot.Tip = pr.BaseRef.Target.Oid
		own, project := pr.BaseRef.Target.Own, pr.BaseRef.Target.Pyproject
		if own == nil || !add(bot.SettingsName, own.Object, false) {
			if project != nil {
				add(bot.PyprojectName, project.Object, true)
			}
		}
	}
	snapshot.Settings, snapshot.Faults = bot.ReadSettings(files...)
	snapshot.Skipped = slices.DeleteFunc(snapshot.Skipped, func(s check.Skip) bool { return !snapshot.Settings.Wants(s.Path) })
}

// first reports whether nothing can have been written for this head: the event
// brings a new head, it came in while this process ran, no process worked on it
// before, and this one has written nothing for it.
func (a *App) first(job bot.Job, head string) bool {
	if job.Rerun || job.Tried || job.Accepted.Before(a.started) {
		return false
	}
	// No own thread may stand on the pull request either: there was none when the
	// event was sent, and what was begun since this process knows, unless another
	// one did it, or one before it.
	if job.Commented || !job.At.IsZero() && job.At.Add(time.Second).Before(a.started) || a.commented.Contains(pullKey{job.Repository, job.Pull}) {
		return false
	}
	switch job.Event {
	case "pull_request.opened":
	case "pull_request.synchronize":
		if !a.alone || job.At.IsZero() {
			return false
		}
	default:
		return false
	}
	return !a.written.Contains(headKey{job.Repository, job.Pull, head})
}

// files lists the changed files. head is the commit that their addresses name,
// "" if none does; moved says that they name more than one.
func (s *session) files(ctx context.Context, owner, name string, pull int) (files []*github.CommitFile, head string, moved bool, err error) {
	options := &github.ListOptions{PerPage: perPage}
	call := "files"
	for {
		var page []*github.CommitFile
		var resp *github.Response
		err := s.call(call, func() (err error) {
			page, resp, err = s.client.PullRequests.ListFiles(ctx, owner, name, pull, options)
			return err
		})
		if err != nil {
			return nil, "", false, err
		}
		files = append(files, page...)
		if resp.NextPage == 0 || resp.NextPage <= options.Page || len(files) >= maxListed {
			break
		}
		options.Page = resp.NextPage
		call = "files:page"
	}
	files = files[:min(len(files), maxListed)]
	for _, f := range files {
		at := commitOf(f)
		if at == "" {
			continue
		}
		if head != "" && at != head {
			moved = true
		}
		head = at
	}
	return files, head, moved, nil
}

// smallPage is the page size at which GitHub gives patches that it leaves out
// of longer pages (openjdk/skara#1302, github/docs#32223).
const (
	smallPage     = 30
	maxSmallPages = 10
)

// missingPatches asks again, in smaller pages, for the patches that GitHub left
// out because the page grew too long.
func (s *session) missingPatches(ctx context.Context, owner, name string, pull int, files []*github.CommitFile) error {
	if len(files) < 2 {
		return nil // there was nobody to share the page with
	}
	byName := make(map[string]*github.CommitFile)
	var pages []int
	for i, f := range files {
		if path.Ext(f.GetFilename()) != ".py" || f.GetStatus() == "removed" || f.GetChanges() == 0 || f.GetPatch() != "" {
			continue
		}
		byName[f.GetFilename()] = f
		if page := i/smallPage + 1; len(pages) == 0 || pages[len(pages)-1] != page {
			pages = append(pages, page)
		}
	}
	for _, page := range pages[:min(len(pages), maxSmallPages)] {
		var again []*github.CommitFile
		err := s.call("files:small", func() (err error) {
			again, _, err = s.client.PullRequests.ListFiles(ctx, owner, name, pull, &github.ListOptions{PerPage: smallPage, Page: page})
			return err
		})
		if err != nil {
			return err
		}
		for _, f := range again {
			if old := byName[f.GetFilename()]; old != nil && old.GetSHA() == f.GetSHA() {
				old.Patch = f.Patch
			}
		}
	}
	return nil
}

// commitOf is the head that a file's address names:
// …/contents/PATH?ref=SHA. A removed file's names a commit that still has it.
func commitOf(f *github.CommitFile) string {
	if f.GetStatus() == "removed" {
		return ""
	}
	u, err := url.Parse(f.GetContentsURL())
	if err != nil {
		return ""
	}
	ref := u.Query().Get("ref")
	if len(ref) != 40 && len(ref) != 64 || strings.Trim(ref, "0123456789abcdef") != "" {
		return ""
	}
	return ref
}

// python picks the Python files that the pull request adds or changes. Notebooks
// and stub files are skipped.
func python(files []*github.CommitFile) (out []wanted, skipped []check.Skip) {
	for _, f := range files {
		switch ext := path.Ext(f.GetFilename()); {
		case f.GetStatus() != "removed" && (ext == ".ipynb" || ext == ".pyi"):
			// Not fetched, but named with the reason.
			skipped = append(skipped, check.Skip{Path: f.GetFilename(), Reason: check.Ignored(f.GetFilename())})
			continue
		case ext != ".py" && !script(f), f.GetStatus() == "removed":
			continue
		case f.GetChanges() == 0 && f.GetPatch() == "" && f.GetStatus() != "added" && f.GetStatus() != "changed":
			continue // only renamed, or only its mode changed: nothing is new
		case f.GetChanges() == 0 && f.GetPatch() == "" && emptyBlob(f.GetSHA()):
			continue
		case len(out) == maxFiles:
			skipped = append(skipped, check.Skip{
				Path:   f.GetFilename(),
				Reason: fmt.Sprintf("more than %d Python files", maxFiles),
			})
			continue
		}
		out = append(out, wanted{
			path:     f.GetFilename(),
			sha:      f.GetSHA(),
			added:    f.GetStatus() == "added",
			patch:    f.GetPatch(),
			hasPatch: f.Patch != nil && *f.Patch != "",
		})
	}
	return out, skipped
}

// script reports whether a file without an extension is Python by its first line,
// as far as its patch shows that line.
func script(f *github.CommitFile) bool {
	if strings.Contains(path.Base(f.GetFilename()), ".") {
		return false
	}
	header, rest, _ := strings.Cut(f.GetPatch(), "\n")
	_, head, ok := strings.Cut(header, " +1")
	if !ok || head != "" && head[0] != ',' && head[0] != ' ' {
		return false
	}
	for line := range strings.SplitSeq(rest, "\n") {
		if !strings.HasPrefix(line, "-") {
			return line != "" && check.Script(line[1:])
		}
	}
	return false
}

// deleted returns the texts of the Python files that the pull request deletes.
// A deleted file's patch holds all of it, so none is fetched; of one whose patch
// GitHub leaves out nothing is known, and its code counts as new elsewhere.
func deleted(files []*github.CommitFile) []string {
	var texts []string
	total := 0
	for _, f := range files {
		if path.Ext(f.GetFilename()) != ".py" || f.GetStatus() != "removed" || f.GetPatch() == "" {
			continue
		}
		diff, err := patch.ParseGitHub(f.GetFilename(), f.GetPatch())
		if err != nil {
			continue
		}
		text, err := diff.Reverse("")
		if err != nil {
			continue // not the whole file
		}
		if total += len(text); total > maxBytes {
			break
		}
		texts = append(texts, text)
	}
	return texts
}

// gone are the paths of Python files that the pull request deletes or renames.
func gone(files []*github.CommitFile) (paths []string) {
	for _, f := range files {
		old := f.GetPreviousFilename()
		if f.GetStatus() == "removed" {
			old = f.GetFilename()
		} else if f.GetStatus() != "renamed" {
			continue // a copy leaves the other one where it is
		}
		if path.Ext(old) == ".py" {
			paths = append(paths, old)
		}
	}
	return paths
}

// emptyBlob reports whether a hash is that of an empty file.
func emptyBlob(sha string) bool { return matches("", sha) }

// The modes of git's trees.
const (
	modeSymlink   = 0o120000
	modeSubmodule = 0o160000
)

// file makes the analysis's file of what was read, or says why it cannot.
func (s *session) file(ctx context.Context, owner, name string, f wanted, e *entry, b *blob) (_ analysis.File, reason string, err error) {
	switch {
	case e != nil && e.Mode == modeSymlink:
		return analysis.File{}, "a symbolic link", nil
	case e != nil && e.Mode == modeSubmodule, b != nil && b.Typename != "" && b.Typename != "Blob":
		return analysis.File{}, "a submodule", nil
	case b != nil && b.ByteSize > maxFile:
		return analysis.File{}, "larger than 1 MiB", nil
	case !f.hasPatch:
		return analysis.File{}, "GitHub shows no diff of it: it is too large or binary", nil
	}
	if s.bytes.Load() > maxBytes {
		return analysis.File{}, "more than 64 MiB of Python files", nil
	}
	var text string
	if b != nil && b.Text != nil && !b.IsTruncated && matches(*b.Text, f.sha) {
		text = *b.Text
	} else {
		raw, err := s.raw(ctx, owner, name, f.sha)
		if errors.Is(err, errTooLarge) {
			return analysis.File{}, "larger than 1 MiB", nil
		}
		if e, ok := refused(err); ok && (e.Status == http.StatusNotFound || e.Status == http.StatusForbidden) {
			return analysis.File{}, fmt.Sprintf("GitHub did not give its content (status %d)", e.Status), nil
		}
		if err != nil {
			return analysis.File{}, "", err
		}
		text = raw
	}
	if f.text == nil {
		s.app.cache.put(s.repository, f.sha, text)
	}
	if s.bytes.Add(int64(len(text))) > maxBytes {
		return analysis.File{}, "more than 64 MiB of Python files", nil
	}
	switch {
	case strings.HasPrefix(text, "version https://git-lfs.github.com/spec/"):
		return analysis.File{}, "kept in Git LFS", nil
	case strings.IndexByte(text, 0) >= 0:
		return analysis.File{}, "a binary file", nil
	case !utf8.ValidString(text) && !declaresEncoding(text):
		return analysis.File{}, "not UTF-8", nil
	}
	diff, err := patch.ParseGitHub(f.path, f.patch)
	if err != nil {
		return analysis.File{}, "its diff could not be read", nil
	}
	file := analysis.File{
		Path:   f.path,
		Source: text,
		Added:  f.added,
		Hunks:  diff.AnalysisHunks(),
	}
	if !f.added {
		if file.Base, err = diff.Reverse(text); err != nil {
			return analysis.File{}, "its diff does not fit its content", nil
		}
	}
	return file, "", nil
}

// declaresEncoding reports whether one of the first two lines names an encoding
// (PEP 263): then other bytes than UTF-8 are no fault, and what is not in a
// string or comment is ASCII.
func declaresEncoding(text string) bool {
	for line := range strings.Lines(text[:min(len(text), 400)]) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") && strings.Contains(line, "coding") {
			return true
		}
	}
	return false
}

// matches reports whether text is the content of the blob with this hash.
func matches(text, oid string) bool {
	var h hash.Hash
	switch len(oid) {
	case 2 * sha1.Size:
		h = sha1.New()
	case 2 * sha256.Size:
		h = sha256.New()
	default:
		return false
	}
	fmt.Fprintf(h, "blob %d\x00%s", len(text), text)
	return hex.EncodeToString(h.Sum(nil)) == oid
}

var errTooLarge = errors.New("too large")

// capped is a buffer that refuses more than maxFile bytes.
type capped struct{ bytes.Buffer }

func (c *capped) Write(p []byte) (int, error) {
	if c.Len()+len(p) > maxFile {
		return 0, errTooLarge
	}
	return c.Buffer.Write(p)
}

// raw fetches a blob by itself.
func (s *session) raw(ctx context.Context, owner, name, sha string) (string, error) {
	var content capped
	tooLarge := false
	err := s.call("blob", func() error {
		req, err := s.client.NewRequest(http.MethodGet, fmt.Sprintf("repos/%s/%s/git/blobs/%s", owner, name, sha), nil)
		if err != nil {
			return err
		}
		req.Header.Set("Accept", "application/vnd.github.raw")
		_, err = s.client.Do(ctx, req, &content)
		if errors.Is(err, errTooLarge) {
			tooLarge = true
			return nil
		}
		return err
	})
	switch {
	case err != nil:
		return "", err
	case tooLarge:
		return "", errTooLarge
	case !matches(content.String(), sha):
		return "", bot.Retry{After: afterServerError, Err: &Error{Call: "blob", Status: http.StatusOK, Message: "other content than its hash says"}}
	}
	return content.String(), nil
}

// own picks the threads that the App began, by who wrote the first comment and
// by its marker: anyone can paste a marker.
func own(all []thread, viewer string) []bot.Thread {
	var out []bot.Thread
	for _, t := range all {
		if len(t.Comments.Nodes) == 0 {
			continue
		}
		first := t.Comments.Nodes[0]
		if !first.own(viewer) {
			continue
		}
		marker, ok := bot.ParseMarker(first.Body)
		if !ok {
			continue
		}
		line := 0
		if t.Line != nil {
			line = *t.Line
		}
		out = append(out, bot.Thread{
			ID:            t.ID,
			CommentID:     first.DatabaseID,
			Path:          t.Path,
			Line:          line,
			Outdated:      t.IsOutdated,
			Resolved:      t.IsResolved,
			Node:          first.ID,
			Fingerprint:   marker.Fingerprint,
			Rule:          marker.Rule,
			Pathless:      marker.Pathless,
			Also:          marker.Also,
			Body:          first.Body,
			Replies:       max(t.Comments.TotalCount-1, 0),
			Reactions:     max(first.Reactions.TotalCount-first.ReactionGroups.owns(), 0),
			MayResolve:    t.ViewerCanResolve || t.ViewerCanUnresolve,
			Gone:          first.ReactionGroups.own(bot.ReactionGone),
			Seen:          first.ReactionGroups.own(bot.ReactionSeen),
			ResolvedByApp: t.ResolvedBy != nil && sameLogin(t.ResolvedBy.Login, viewer),
			Told:          t.told(viewer),
		})
	}
	return out
}

// told reports whether the App said in the thread that the mistake is gone.
func (t thread) told(viewer string) bool {
	for _, c := range t.Later.Nodes {
		if m, ok := bot.ParseMarker(c.Body); ok && m.Gone && c.own(viewer) {
			return true
		}
	}
	return false
}

// checkRuns are the App's own check runs of the head, newest first.
func checkRuns(head commit) []bot.CheckRun {
	if head.CheckSuites == nil {
		return nil
	}
	value := func(s *string) string {
		if s == nil {
			return ""
		}
		return *s
	}
	var out []bot.CheckRun
	for _, suite := range head.CheckSuites.Nodes {
		if suite.CheckRuns == nil {
			continue
		}
		for _, r := range suite.CheckRuns.Nodes {
			out = append(out, bot.CheckRun{
				ID:         r.DatabaseID,
				Status:     strings.ToLower(r.Status),
				Conclusion: strings.ToLower(value(r.Conclusion)),
				ExternalID: value(r.ExternalID),
				Head:       head.Oid,
				Title:      value(r.Title),
				Summary:    value(r.Summary),
			})
		}
	}
	slices.SortFunc(out, func(a, b bot.CheckRun) int { return cmp.Compare(b.ID, a.ID) })
	return out
}
