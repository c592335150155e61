package store

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// silent and silentObjects are of a server whose answers are lost.
type (
	silent        struct{ jetstream.KeyValue }
	silentObjects struct{ jetstream.ObjectStore }
)

func (silent) Bucket() string { return "silent" }

func (silent) Get(ctx context.Context, _ string) (jetstream.KeyValueEntry, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (silent) Put(ctx context.Context, _ string, _ []byte) (uint64, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

func (silentObjects) GetInfo(ctx context.Context, _ string, _ ...jetstream.GetObjectInfoOpt) (*jetstream.ObjectInfo, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestLostAnswer has answers that never come: they are waited for for seconds,
// and not for as long as a job may take.
func TestLostAnswer(t *testing.T) {
	for name, ask := range map[string]func(context.Context) error{
		"read": func(ctx context.Context) error {
			_, _, err := bucket{silent{}}.Get(ctx, "key")
			return err
		},
		"write": func(ctx context.Context) error {
			_, err := bucket{silent{}}.Put(ctx, "key", nil)
			return err
		},
		"index": func(ctx context.Context) error {
			s := &Store{indexes: silentObjects{}}
			_, err := s.Index(ctx, 1, "main")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				if err := ask(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("the error is %v", err)
				}
				if took := time.Since(start); took > answerLimit {
					t.Errorf("waited %s", took)
				}
			})
		})
	}
}
