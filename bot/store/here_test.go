package store_test

import "testing"

// TestHere counts processes that come and go.
func TestHere(t *testing.T) {
	places(t, func(t *testing.T, p *place) {
		s := open(t, p)
		for want, id := range []string{"", "a", "b", "c"} {
			if id == "" {
				continue
			}
			for range 2 { // again is the same one
				if n, err := s.Here(t.Context(), id); n != want || err != nil {
					t.Errorf("%s is here: %d, %v; want %d", id, n, err, want)
				}
			}
		}
		if err := s.Gone(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		if n, err := s.Here(t.Context(), "a"); n != 2 || err != nil {
			t.Errorf("%d are left, %v", n, err)
		}
	})
}
