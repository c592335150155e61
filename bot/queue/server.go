package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Config says where the JetStream of [Start] lives.
type Config struct {
	// DataDir is the folder of the embedded server: it is created, made private
	// (0700) and locked against a second process. Unused when URL is set.
	DataDir string
	// URL is an external NATS server with JetStream, or several, comma
	// separated; "" embeds one in this process. The streams and buckets have
	// plain names, so the bot needs an account of its own there.
	URL string
	// Creds is the path of a NATS credentials file, CA of a PEM file with the
	// certificate authorities of the external server. "" uses neither.
	Creds, CA string
	// Replicas is the number of copies an external cluster keeps of each stream
	// and bucket, 1 to 5; 0 means 1. An embedded server always keeps one.
	Replicas int
	// PublishLimit is how long storing a job may take; 0 means 2 s. GitHub waits 10
	// seconds for the answer to a webhook.
	PublishLimit time.Duration
	// StartLimit is how long an embedded server may take to recover its store, and
	// each of the connections and questions of a start; 0 means 1 min. A server that
	// takes longer is an error, and its store is left as it is.
	StartLimit time.Duration
	// Log gets the server's and the connection's warnings; nil discards them.
	Log *slog.Logger
}

// A Server is a running JetStream with a connection to it: embedded in this
// process without any network listener, or external. An embedded one that
// cannot store any more, since its disk is or was full, is started again by
// itself as soon as there is space; the connection and all handles stay good. A
// store that cannot be read is moved aside and begun anew: see [Server.Lost].
type Server struct {
	conf Config
	log  *slog.Logger
	nc   *nats.Conn
	js   jetstream.JetStream
	lock *dataLock // nil when external

	mu        sync.Mutex
	ns        *server.Server                // nil when external, and while it is started again
	reopened  []func(context.Context) error // see afterReopen
	turned    chan struct{}                 // closed and replaced when the server was started again
	repairing bool
	closed    bool
	wrap      func(net.Conn) net.Conn // of tests; nil leaves connections as they are
	stop      chan struct{}           // closed by Close
	repairs   sync.WaitGroup
	broken    atomic.Pointer[error] // why the server is being repaired
	lost      string                // see Lost; guarded by mu
}

// errSlowStart says that a server did not come up within the limit. It may be
// reading a big store from a busy disk: that is no damage.
var errSlowStart = errors.New("not ready in time")

// Start starts the embedded server in c.DataDir or connects to c.URL. After
// Close it may be called again with the same configuration, in the same process
// too: a store that ran out of disk space is repaired that way.
//
// The error is a [*LockedError] when another process has the folder.
func Start(ctx context.Context, c Config) (*Server, error) {
	s := &Server{conf: c, log: c.Log, stop: make(chan struct{}), turned: make(chan struct{})}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.conf.Replicas == 0 || c.URL == "" {
		s.conf.Replicas = 1
	}
	if s.conf.PublishLimit == 0 {
		s.conf.PublishLimit = 2 * time.Second
	}
	if s.conf.StartLimit == 0 {
		s.conf.StartLimit = time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, s.conf.StartLimit)
	defer cancel()
	var err error
	if c.URL == "" {
		err = s.embed()
	} else {
		err = s.connect()
	}
	if err == nil {
		err = s.check(ctx)
	}
	if err == nil && s.Embedded() {
		err = s.compare(ctx)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// embed locks the folder and starts the server in it.
func (s *Server) embed() error {
	var err error
	if s.lock, err = lockDir(s.conf.DataDir); err != nil {
		return err
	}
	ns, err := s.openStore()
	if err != nil {
		return err
	}
	s.ns = ns
	s.nc, err = nats.Connect("", nats.InProcessServer(door{s}), nats.Name("dtypebot"), nats.MaxReconnects(-1),
		nats.Timeout(s.conf.StartLimit), // 2 s are not enough for a machine that is busy
		// For when the server is started again. Until then publishing has to
		// fail: buffered bytes would be a promise that cannot be kept.
		nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0), nats.ReconnectBufSize(-1))
	if err != nil {
		return fmt.Errorf("connect to the embedded queue: %w", err)
	}
	return nil
}

// startServer starts an embedded server in the folder.
func (s *Server) startServer() (*server.Server, error) {
	dir := s.storeDir()
	ns, err := server.NewServer(&server.Options{
		ServerName: "dtypebot",
		DontListen: true, // reached in process only: no port, no credentials
		NoSigs:     true, // signals belong to the program
		JetStream:  true,
		StoreDir:   dir,
		// A webhook is answered 202 only when its job would survive the loss of
		// power, so every write is synced before it is acknowledged.
		SyncAlways: true,
	})
	if err != nil {
		return nil, fmt.Errorf("configure the embedded queue in %s: %w", dir, err)
	}
	ns.SetLoggerV2(serverLog{s.log}, false, false, false)
	go ns.Start()
	switch {
	case !ns.ReadyForConnections(s.conf.StartLimit):
		err = fmt.Errorf("start the embedded queue in %s: %w (%s)", dir, errSlowStart, s.conf.StartLimit)
	case !ns.JetStreamEnabled():
		err = fmt.Errorf("start the embedded queue in %s: its store could not be opened (see the log)", dir)
	default:
		return ns, nil
	}
	ns.Shutdown()
	ns.WaitForShutdown()
	return nil, err
}

// door leads to whatever server is running.
type door struct{ s *Server }

func (d door) InProcessConn() (net.Conn, error) {
	d.s.mu.Lock()
	ns := d.s.ns
	d.s.mu.Unlock()
	if ns == nil {
		return nil, errors.New("the embedded queue is not running")
	}
	conn, err := ns.InProcessConn()
	if err == nil && d.s.wrap != nil {
		conn = d.s.wrap(conn)
	}
	return conn, err
}

// connect connects to the external server.
func (s *Server) connect() error {
	opts := []nats.Option{
		nats.Name("dtypebot"),
		nats.Timeout(5 * time.Second),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(time.Second),
		// While it is away publishing has to fail, so that the webhook answers
		// 503 and GitHub lists the delivery as failed; buffered bytes would be a
		// promise that this process cannot keep.
		nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { s.log.Warn("queue disconnected", "error", err) }),
		nats.ReconnectHandler(func(nc *nats.Conn) { s.log.Info("queue reconnected", "server", nc.ConnectedUrlRedacted()) }),
	}
	if s.conf.Creds != "" {
		opts = append(opts, nats.UserCredentials(s.conf.Creds))
	}
	if s.conf.CA != "" {
		opts = append(opts, nats.RootCAs(s.conf.CA))
	}
	var err error
	s.nc, err = nats.Connect(s.conf.URL, opts...)
	if err != nil {
		return fmt.Errorf("connect to the queue: %w", err) // the URL may hold a password
	}
	return nil
}

// check makes the JetStream handle and asks the server whether it has one.
func (s *Server) check(ctx context.Context) error {
	js, err := jetstream.New(s.nc)
	if err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	if _, err := js.AccountInfo(ctx); err != nil {
		return fmt.Errorf("open JetStream: %w", err)
	}
	s.js = js
	return nil
}

// JetStream returns the handle for the streams and buckets.
func (s *Server) JetStream() jetstream.JetStream { return s.js }

// Embedded reports whether the server lives and dies with this process.
func (s *Server) Embedded() bool { return s.conf.URL == "" }

// Replicas is the number of copies of each stream and bucket.
func (s *Server) Replicas() int { return s.conf.Replicas }

// Ready returns nil while the server answers, else why it does not.
func (s *Server) Ready(ctx context.Context) error {
	if why := s.broken.Load(); why != nil {
		return fmt.Errorf("queue: it is being repaired: %w", *why)
	}
	if !s.nc.IsConnected() {
		return errors.New("queue: not connected")
	}
	if s.Embedded() {
		err := s.health()
		for try := 0; err != nil && try < 3; try++ { // a stream that is just made or deleted looks like a broken one
			select {
			case <-ctx.Done():
				return fmt.Errorf("queue: %w", err)
			case <-time.After(50 * time.Millisecond):
			}
			err = s.health()
		}
		if err != nil {
			s.suspect(err)
			return fmt.Errorf("queue: %w", err)
		}
	}
	if _, err := s.js.AccountInfo(ctx); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	return nil
}

// Close ends the connection and the embedded server and gives the folder free.
// It may be called on a server that is only half started.
func (s *Server) Close() {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if first {
		close(s.stop)
	}
	s.repairs.Wait()
	if first && s.Embedded() && s.js != nil {
		s.closeLedger()
	}
	if s.nc != nil {
		s.nc.Close()
	}
	s.endServer()
	if s.lock != nil {
		s.lock.release()
	}
}

// endServer ends the embedded server, if one runs.
func (s *Server) endServer() {
	s.mu.Lock()
	ns := s.ns
	s.ns = nil
	s.mu.Unlock()
	if ns != nil {
		ns.Shutdown()
		ns.WaitForShutdown()
	}
}

// serverLog passes the server's log on. Its notices (a banner and every start
// of a subsystem) are details here.
type serverLog struct{ log *slog.Logger }

func (l serverLog) Noticef(format string, v ...any) { l.write(slog.LevelDebug, format, v) }
func (l serverLog) Warnf(format string, v ...any)   { l.write(slog.LevelWarn, format, v) }
func (l serverLog) Fatalf(format string, v ...any)  { l.write(slog.LevelError, format, v) }
func (l serverLog) Errorf(format string, v ...any)  { l.write(slog.LevelError, format, v) }
func (l serverLog) Debugf(format string, v ...any)  {}
func (l serverLog) Tracef(format string, v ...any)  {}

func (l serverLog) write(level slog.Level, format string, v []any) {
	l.log.Log(context.Background(), level, "queue server: "+fmt.Sprintf(format, v...))
}

var _ server.Logger = serverLog{}

// makePrivate creates dir, or takes the rights of group and others away from it.
func makePrivate(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("create the data folder: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("open the data folder: %w", err)
	}
	if info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return fmt.Errorf("make the data folder private: %w", err)
	}
	return nil
}
