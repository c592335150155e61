package queue

import "net"

// EndStore ends the store of the embedded server, which goes on without it: the
// server itself does this when it runs out of resources.
func (s *Server) EndStore() error { return s.ns.DisableJetStream() }

// Wrap has each further connection to the embedded server go through wrap.
func (s *Server) Wrap(wrap func(net.Conn) net.Conn) { s.wrap = wrap }
