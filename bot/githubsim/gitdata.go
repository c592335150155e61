package githubsim

import (
	"net/http"
	"slices"
	"strings"
)

// createTree makes a tree of another one and whole new files. Of the kinds of
// entries that GitHub takes only those with content are simulated.
func (s *Sim) createTree(c *call) reply {
	const page = "rest/git/trees#create-a-tree"
	var want struct {
		BaseTree string `json:"base_tree"`
		Tree     []struct {
			Path, Mode, Type string
			Content          *string
		} `json:"tree"`
	}
	if rep, okay := decode(c, &want); !okay {
		return rep
	}
	if len(want.Tree) == 0 {
		return unprocessable(page, "Invalid tree info")
	}
	if want.BaseTree != "" {
		o, err := c.repo.git.object(want.BaseTree)
		if err != nil || o.Type != "tree" && o.Type != "commit" {
			return refuse(http.StatusNotFound, "Not Found", page)
		}
	}
	var changes []change
	for _, e := range want.Tree {
		switch {
		case !slices.Contains([]string{"100644", "100755", "040000", "160000", "120000"}, e.Mode):
			return unprocessable(page, "tree.mode "+e.Mode+" is not a valid mode")
		case e.Path == "" || strings.HasPrefix(e.Path, "/") || slices.Contains(strings.Split(e.Path, "/"), ".."):
			return unprocessable(page, "tree.path contains a malformed path component")
		case e.Content == nil:
			return unprocessable(page, "Must supply tree.sha or tree.content")
		case e.Mode == "040000" || e.Mode == "160000": // GitHub's words are not known
			return unprocessable(page, "tree.content is not for mode "+e.Mode)
		}
		changes = append(changes, change{Path: e.Path, Data: []byte(*e.Content), Mode: e.Mode})
	}
	sha, err := c.repo.git.writeTree(want.BaseTree, changes)
	if err != nil {
		return s.broken(err)
	}
	list, err := c.repo.git.tree(c.ctx, sha, false)
	if err != nil {
		return s.broken(err)
	}
	return created(s.treeJSON(c.repo, sha, list))
}

// createCommit makes a commit of a tree; it belongs to no branch yet.
func (s *Sim) createCommit(c *call) reply {
	const page = "rest/git/commits#create-a-commit"
	var want struct {
		Message, Tree string
		Parents       []string
	}
	if rep, okay := decode(c, &want); !okay {
		return rep
	}
	if want.Message == "" {
		return badRequest(page, `"message" wasn't supplied.`)
	}
	if o, err := c.repo.git.object(want.Tree); err != nil || o.Type != "tree" {
		return unprocessable(page, "Tree SHA does not exist")
	}
	for _, p := range want.Parents {
		if !isSHA(p) || c.repo.git.commitSHA(p) == "" {
			return unprocessable(page, "Parent SHA does not exist or is not a commit object")
		}
	}
	who := s.signature(c.caller.user())
	sha, err := c.repo.git.commitTree(want.Tree, want.Parents, want.Message, who, signature{Name: "GitHub", Email: "noreply@github.com", When: s.now()})
	if err != nil {
		return s.broken(err)
	}
	info, err := c.repo.git.commit(sha)
	if err != nil {
		return s.broken(err)
	}
	return created(s.gitCommitJSON(c.repo, info))
}
