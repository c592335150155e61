package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// What is damaged on the disk (a failing drive, a restored half of a backup, an
// editor) the server notices in part only: a stream whose description cannot be
// read is left out, and damaged messages are skipped without a word (tried with
// 2.15.2). So the server is asked for streams that it could not read, and its
// messages are counted against what the last process noted.

// Lost tells why jobs that were accepted may be gone, "" if none are. Whoever can
// has to look for their work elsewhere, and then call Found. The answer outlives
// the process.
func (s *Server) Lost() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

// Found says that the work that was lost for that reason was found again.
func (s *Server) Found(lost string) {
	s.mu.Lock()
	same := s.lost == lost
	if same {
		s.lost = ""
	}
	s.mu.Unlock()
	if !same || !s.Embedded() {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), s.conf.PublishLimit)
	defer cancel()
	if now, err := s.count(ctx); err != nil {
		s.log.Warn("count the queue", "error", err)
	} else {
		s.note(ledger{Streams: now})
	}
}

// lose notes a loss; the first reason stands.
func (s *Server) lose(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost == "" {
		s.lost = why
	}
}

func (s *Server) storeDir() string { return filepath.Join(s.conf.DataDir, "queue") }

// openStore starts the embedded server; a store that it cannot read is moved
// aside first.
func (s *Server) openStore() (*server.Server, error) {
	ns, err := s.startServer()
	if err == nil {
		h := ns.Healthz(&server.HealthzOptions{})
		if h.Status == "ok" {
			return ns, nil
		}
		err = errors.New(h.Error)
		ns.Shutdown()
		ns.WaitForShutdown()
	}
	// Neither a slow disk nor a full one nor missing rights are damage.
	if errors.Is(err, errSlowStart) {
		return nil, err
	}
	if full := s.space(); full != nil {
		return nil, errors.Join(err, full)
	}
	if denied := s.readable(); denied != nil {
		return nil, errors.Join(err, denied)
	}
	if aside := s.moveAside(err); aside != nil {
		return nil, errors.Join(err, aside)
	}
	return s.startServer()
}

// readable returns why a file of the store may not be opened.
func (s *Server) readable() error {
	return filepath.WalkDir(s.storeDir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		return f.Close()
	})
}

// asidePrefix begins the names of stores that could not be read.
const asidePrefix = "queue.damaged-"

// moveAside renames the store, for a person to look at. Of those that were moved
// before, none is kept: they would fill the disk.
func (s *Server) moveAside(cause error) error {
	old, err := filepath.Glob(filepath.Join(s.conf.DataDir, asidePrefix+"*"))
	if err != nil {
		return err // unreachable unless the folder's name is a broken pattern
	}
	for _, dir := range old {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove an older damaged queue: %w", err)
		}
	}
	to := filepath.Join(s.conf.DataDir, asidePrefix+time.Now().UTC().Format("20060102T150405Z"))
	if err := os.Rename(s.storeDir(), to); err != nil {
		return fmt.Errorf("move the damaged queue aside: %w", err)
	}
	s.lose("the store could not be read: " + cause.Error())
	s.note(ledger{})
	s.log.Error("the queue's store is damaged; it was moved aside and begins anew", "moved to", to, "error", cause)
	return nil
}

// A ledger is what a process notes of the streams when it starts and when it
// ends, beside the store.
type ledger struct {
	Clean   bool             `json:"clean"`          // the process ended in good order
	Lost    string           `json:"lost,omitempty"` // see Server.Lost
	Streams map[string]count `json:"streams"`
}

type count struct {
	Messages uint64 `json:"messages"` // only of use if clean
	Last     uint64 `json:"last"`     // sequence number
}

// counted are the streams whose messages must not be lost.
var counted = []string{reviewStream, commandStream, indexStream, deadStream}

func (s *Server) ledgerPath() string { return filepath.Join(s.conf.DataDir, "queue.json") }

// compare holds the streams against what the last process noted, and notes how
// they are now.
func (s *Server) compare(ctx context.Context) error {
	now, err := s.count(ctx)
	if err != nil {
		return err
	}
	if why := s.missing(now); why != "" {
		s.lose(why)
		s.log.Error("the queue has lost jobs", "reason", s.Lost())
	}
	s.note(ledger{Streams: now})
	return nil
}

// missing tells what the streams lack, "" if nothing. Without a note, or with
// one that cannot be read, nothing is known to lack.
func (s *Server) missing(now map[string]count) string {
	data, err := os.ReadFile(s.ledgerPath())
	if err != nil {
		return ""
	}
	var before ledger
	if json.Unmarshal(data, &before) != nil {
		return ""
	}
	var why []string
	if before.Lost != "" { // and not found again yet
		why = append(why, before.Lost)
	}
	for _, name := range counted {
		was, known := before.Streams[name]
		is := now[name]
		switch {
		case !known:
		case is.Last < was.Last:
			why = append(why, fmt.Sprintf("stream %s ends at %d and was at %d", name, is.Last, was.Last))
		case before.Clean && is.Messages < was.Messages:
			why = append(why, fmt.Sprintf("stream %s holds %d messages and held %d", name, is.Messages, was.Messages))
		}
	}
	return strings.Join(why, ", ")
}

// count asks for the messages of the streams that exist.
func (s *Server) count(ctx context.Context) (map[string]count, error) {
	now := make(map[string]count)
	for _, name := range counted {
		stream, err := s.js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("count stream %s: %w", name, err)
		}
		state := stream.CachedInfo().State
		now[name] = count{Messages: state.Msgs, Last: state.LastSeq}
	}
	return now, nil
}

// closeLedger notes the streams at the end.
func (s *Server) closeLedger() {
	ctx, cancel := context.WithTimeout(context.Background(), s.conf.PublishLimit)
	defer cancel()
	now, err := s.count(ctx)
	if err != nil {
		s.log.Warn("count the queue", "error", err)
		return
	}
	s.note(ledger{Clean: true, Streams: now})
}

// note replaces the note, whole or not at all. If it cannot, the next start
// knows less.
func (s *Server) note(l ledger) {
	l.Lost = s.Lost()
	data, err := json.Marshal(l)
	temporary := s.ledgerPath() + ".new"
	if err == nil {
		err = os.WriteFile(temporary, append(data, '\n'), 0o600)
	}
	if err == nil {
		err = os.Rename(temporary, s.ledgerPath())
	}
	if err != nil {
		s.log.Warn("note the state of the queue", "error", err)
	}
}
