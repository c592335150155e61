package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/dtypebot/dtypebot/bot/setup"
)

// createApp shows the setup page on the address for webhooks until an App was
// created, which nil means, or ctx ends. It tells on w where the page is.
func createApp(ctx context.Context, config serveConfig, w io.Writer) error {
	log := config.logger(w)
	wizard, err := setup.New(setup.Options{DataDir: config.DataDir, GitHub: config.github(), Log: log})
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", config.Listen)
	if err != nil {
		return err
	}
	address := "http://" + pageHost(listener.Addr()) + wizard.Path()
	if config.LogJSON {
		log.Info("no credentials: open the setup page, once", "address", address)
	} else {
		fmt.Fprintf(w, "dtypebot has no credentials yet. This page creates its GitHub App; the address works once:\n\n  %s\n\n"+
			"From another machine, take the name of this one, or of your reverse proxy, in place of %s.\n", address, pageHost(listener.Addr()))
	}
	server := &http.Server{
		Handler: setupRoutes(wizard), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 90 * time.Second,
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := server.Serve(listener); err != http.ErrServerClosed {
			return fmt.Errorf("serve %s: %w", listener.Addr(), err)
		}
		return nil
	})
	g.Go(func() error {
		select {
		case <-ctx.Done():
		case <-wizard.Done():
		}
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerLimit)
		defer cancel()
		if err := server.Shutdown(end); err != nil {
			_ = server.Close() // what did not end in time is cut
		}
		return nil
	})
	return g.Wait()
}

// setupRoutes are what is answered while there is no App. A webhook of the new
// App that comes too early is one that failed: the bot fetches those back.
func setupRoutes(wizard *setup.Wizard) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/setup", wizard.Handler())
	mux.Handle("/setup/", wizard.Handler())
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	for _, pattern := range []string{"GET /readyz", "POST /webhook"} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "not set up", http.StatusServiceUnavailable)
		})
	}
	return mux
}

// pageHost is an address of this machine that a browser on it can open.
func pageHost(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err == nil && ip != nil && ip.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr.String()
}
