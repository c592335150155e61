package queue

// EndStore ends the store of the embedded server, which goes on without it: the
// server itself does this when it runs out of resources.
func (s *Server) EndStore() error { return s.ns.DisableJetStream() }
