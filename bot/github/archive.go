package github

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-github/v60/github"

	"github.com/dtypebot/dtypebot/analysis/project"
	"github.com/dtypebot/dtypebot/bot"
)

// Bounds of what is read of an archive: what lies behind them is not seen, and
// the index says so. project has those of what is kept.
const (
	maxArchive = 512 << 20 // bytes as they come
	maxEntries = 500_000
	// maxChanged is how many files are fetched one by one when a revision differs
	// from the one that is known; if more do, an archive is cheaper.
	maxChanged = 50
)

// maxUnpacked is for the bytes unpacked; a variable for tests.
var maxUnpacked int64 = 4 << 30

// Gather reads the files of the job's revision for an index: those that differ
// from what is known by themselves, if they are few, else all from one archive.
// known may be nil; ignored tells of Python files that are not worth reading.
// What was called is returned in any case.
func (a *App) Gather(ctx context.Context, job bot.Job, known *project.Index, ignored func(path string) bool) (*project.Collection, []string, error) {
	s, owner, name, err := a.at(ctx, job)
	if err != nil {
		return nil, nil, err
	}
	c := project.NewCollection(job.Index, ignored)
	if known != nil {
		whole, err := s.difference(ctx, owner, name, known, c)
		if err != nil {
			return nil, s.made(), ended(err, "the repository is gone or closed to the App")
		}
		if whole {
			return c, s.made(), nil
		}
		c = project.NewCollection(job.Index, ignored)
	}
	err = s.archive(ctx, owner, name, c)
	return c, s.made(), ended(err, "the repository is gone or closed to the App")
}

// difference reads what is not known of a revision; false if that is too much.
func (s *session) difference(ctx context.Context, owner, name string, known *project.Index, into *project.Collection) (bool, error) {
	var tree *github.Tree
	err := s.call("tree", func() (err error) {
		tree, _, err = s.client.Git.GetTree(ctx, owner, name, into.Revision(), true)
		return err
	})
	if err != nil {
		return false, err
	}
	if tree.GetTruncated() {
		return false, nil
	}
	var missing []*github.TreeEntry
	for _, e := range tree.Entries {
		if mode := e.GetMode(); mode != "100644" && mode != "100755" || !into.Wants(e.GetPath(), int64(e.GetSize())) {
			continue // a folder, a symbolic link, a submodule
		}
		if into.Keep(e.GetPath(), e.GetSHA(), int64(e.GetSize()), known) {
			continue
		}
		if missing = append(missing, e); len(missing) > maxChanged {
			return false, nil
		}
	}
	for _, e := range missing {
		text, err := s.raw(ctx, owner, name, e.GetSHA())
		if errors.Is(err, errTooLarge) {
			into.Leave(e.GetPath(), "over 1 MiB")
			continue
		}
		if err != nil {
			return false, err
		}
		into.Add(e.GetPath(), text)
	}
	return true, nil
}

// archive reads a revision from its tarball. GitHub redirects to another host,
// with a ticket in the address; the App's token does not go there.
func (s *session) archive(ctx context.Context, owner, name string, into *project.Collection) error {
	var link *url.URL
	err := s.call("tarball", func() (err error) {
		link, _, err = s.client.Repositories.GetArchiveLink(ctx, owner, name, github.Tarball, &github.RepositoryContentGetOptions{Ref: into.Revision()}, 1)
		return err
	})
	if err != nil {
		return err
	}
	return s.call("archive", func() error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, link.String(), nil)
		if err != nil {
			return err
		}
		if s.app.userAgent != "" {
			req.Header.Set("User-Agent", s.app.userAgent)
		}
		resp, err := s.app.archives.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if err := github.CheckResponse(resp); err != nil {
			return err
		}
		return ReadArchive(resp.Body, into)
	})
}

// archiveHosts are the hosts that GitHub redirects to for an archive:
// https://codeload.github.com for https://api.github.com, and on GitHub
// Enterprise Server the same host or, with subdomain isolation, codeload.HOST.
// https://docs.github.com/en/enterprise-server/admin/configuring-settings/hardening-security-for-your-enterprise/enabling-subdomain-isolation
func archiveHosts(api *url.URL) map[string]bool {
	codeload := *api
	codeload.Host = "codeload." + strings.TrimPrefix(strings.ToLower(api.Host), "api.")
	return map[string]bool{origin(api): true, origin(&codeload): true}
}

// errArchive is wrapped by the errors of an archive that cannot be read.
var errArchive = errors.New("the archive cannot be read")

// ReadArchive gives the files of a repository's archive, a tar compressed by gzip
// as GitHub makes it, to a collection. All entries lie in one folder, whose name
// does not count. Links, and names that lead out of the folder or that stand
// there twice, are left out. A bound that is reached ends the reading without an
// error, and the collection is told.
func ReadArchive(r io.Reader, into *project.Collection) error {
	packed := &bounded{next: r, left: maxArchive}
	unzipped, err := gzip.NewReader(packed)
	if err != nil {
		return fmt.Errorf("%w: %w", errArchive, err)
	}
	plain := &bounded{next: unzipped, left: maxUnpacked}
	files := tar.NewReader(plain)
	seen := map[string]bool{}
	for n := 0; ; n++ {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			// The checksum stands behind the end of the tar.
			if _, err := io.Copy(io.Discard, plain); err != nil && !plain.over && !packed.over {
				return fmt.Errorf("%w: %w", errArchive, err)
			}
			return nil
		}
		if packed.over || plain.over || n >= maxEntries {
			into.Incomplete("its archive is too large")
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errArchive, err)
		}
		_, p, _ := strings.Cut(header.Name, "/")
		if !fs.ValidPath(header.Name) || header.Typeflag != tar.TypeReg || p == "" || strings.ContainsAny(p, "\\\x00") || seen[p] || !into.Wants(p, header.Size) {
			continue
		}
		seen[p] = true
		text, err := io.ReadAll(io.LimitReader(files, project.MaxFile+1))
		if packed.over || plain.over {
			into.Incomplete("its archive is too large")
			return nil
		}
		if err != nil {
			return fmt.Errorf("%w: %s: %w", errArchive, p, err)
		}
		into.Add(p, string(text))
	}
}

// bounded ends a stream after so many bytes.
type bounded struct {
	next io.Reader
	left int64
	over bool
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		b.over = true
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.next.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
