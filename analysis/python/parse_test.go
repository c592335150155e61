package python

import "testing"

func TestNodeSmoke(t *testing.T) {
	f, err := Parse("@d\nasync def g(a, /, b: int=3, *args, c=1, **k) -> X:\n  x = y = (a+b)\n  if a: pass\n  elif b: z[1:2, ...]\n  else: f(*a, k=v)\n")
	if err != nil {
		t.Fatal(err)
	}
	t.Log(dump(f.Body))
	if len(f.Body) != 1 {
		t.Fatal(len(f.Body))
	}
}
