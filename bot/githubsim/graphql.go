package githubsim

func (s *Sim) graphql(c *call) reply { return notFound() }
