package queue

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// An embedded server whose disk was full stops storing for good, stream by
// stream, also when there is space again; all it stored and acknowledged is on
// disk. So it is ended and started again.

const (
	// probeStream shows whether the server can store.
	probeStream  = "PROBE"
	probeSubject = "probe"
	// repairSpace is how much must fit on the disk before the server is started
	// again, in bytes: a start writes too.
	repairSpace = 1 << 20
	repairFirst = 250 * time.Millisecond
	repairLast  = 15 * time.Second
	// unreadableLimit is how many starts in a row may fail for another reason than
	// space before the store is taken for damaged.
	unreadableLimit = 3
)

// afterReopen registers what makes again that a start does not bring back, such
// as what was kept in memory.
func (s *Server) afterReopen(f func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reopened = append(s.reopened, f)
}

// suspect looks whether an embedded server that just failed can still store,
// and repairs it if not. It returns at once.
func (s *Server) suspect(cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.Embedded() || s.repairing || s.closed || s.js == nil {
		return
	}
	s.repairing = true
	s.repairs.Go(func() {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		go func() { // ends with ctx, at the latest
			select {
			case <-s.stop:
				cancel()
			case <-ctx.Done():
			}
		}()
		s.repair(ctx, cause)
		s.mu.Lock()
		s.repairing = false
		s.mu.Unlock()
	})
}

// repair starts the server again until it stores, or ctx ends.
func (s *Server) repair(ctx context.Context, cause error) {
	for try := range 2 { // a stream that is just made or deleted looks like a broken one
		if try > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(repairFirst):
			}
		}
		if s.stores(ctx) == nil {
			return // it was about that one job, or has passed
		}
	}
	s.broken.Store(&cause)
	defer s.broken.Store(nil)
	s.log.Error("the queue cannot store; it is started again when the disk has space", "error", cause)
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = repairFirst, repairLast
	for unreadable := 0; ; {
		err := s.space()
		if err == nil {
			if err = s.reopen(ctx); err != nil && ctx.Err() == nil {
				// There is space and it fails all the same.
				if unreadable++; unreadable == unreadableLimit {
					s.endServer()
					err = errors.Join(err, s.moveAside(err))
				}
			}
		}
		if err == nil {
			s.log.Info("the queue stores again")
			return
		}
		s.broken.Store(&err)
		wait := pause.NextBackOff()
		s.log.Warn("repair the queue", "again in", wait.Round(time.Millisecond), "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// space tells whether the disk takes some bytes, by writing them.
func (s *Server) space() error {
	path := filepath.Join(s.conf.DataDir, "space")
	defer os.Remove(path)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("test the disk: %w", err)
	}
	_, err = file.Write(make([]byte, repairSpace))
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("test the disk: %w", err)
	}
	return nil
}

// reopen ends the server, starts it again in the same folder, and waits until it
// stores.
func (s *Server) reopen(ctx context.Context) error {
	s.endServer()
	if err := ctx.Err(); err != nil {
		return err
	}
	// A connection that has not noticed the end yet would be taken for one to the
	// next server, and what is asked over it has no answer.
	if err := s.untilConnected(ctx, false); err != nil {
		return err
	}
	ns, err := s.startServer()
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.ns = ns
	again := s.reopened
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, s.conf.StartLimit)
	defer cancel()
	if err := s.untilConnected(ctx, true); err != nil {
		return err
	}
	for _, f := range again {
		if err := f(ctx); err != nil {
			return err
		}
	}
	if err := s.stores(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	close(s.turned)
	s.turned = make(chan struct{})
	s.mu.Unlock()
	return nil
}

// untilConnected waits until the connection is there, or is gone: it changes by
// itself within milliseconds and tells nobody.
func (s *Server) untilConnected(ctx context.Context, connected bool) error {
	ctx, cancel := context.WithTimeout(ctx, s.conf.StartLimit)
	defer cancel()
	for s.nc.IsConnected() != connected {
		select {
		case <-ctx.Done():
			return fmt.Errorf("connect to the embedded queue: %w", ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// nextStart is closed when the server has been started again.
func (s *Server) nextStart() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.turned
}

// stores returns why the server cannot store, nil if it can.
func (s *Server) stores(ctx context.Context) error {
	if err := s.health(); err != nil {
		return err
	}
	return s.probe(ctx)
}

// health asks an embedded server whether a writing to one of its streams failed
// for good, or a stream could not be read at its start.
func (s *Server) health() error {
	s.mu.Lock()
	ns := s.ns
	s.mu.Unlock()
	if ns == nil {
		return errors.New("the embedded queue is not running")
	}
	if h := ns.Healthz(&server.HealthzOptions{}); h.Status != "ok" {
		return errors.New(h.Error)
	}
	return nil
}

// probe stores something.
func (s *Server) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.conf.PublishLimit)
	defer cancel()
	_, err := s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: probeStream, Description: "shows whether the server can store", Subjects: []string{probeSubject},
		MaxMsgs: 1, Discard: jetstream.DiscardOld, Storage: jetstream.FileStorage, Replicas: 1,
	})
	if err != nil {
		return fmt.Errorf("probe the queue: %w", err)
	}
	if _, err := s.js.Publish(ctx, probeSubject, make([]byte, 1<<10), jetstream.WithExpectStream(probeStream), jetstream.WithRetryAttempts(0)); err != nil {
		return fmt.Errorf("probe the queue: %w", err)
	}
	return nil
}
