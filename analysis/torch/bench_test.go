package torch

import "testing"

// BenchmarkDecode is what the first lookup costs.
func BenchmarkDecode(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		t, err := decode(facts215)
		if err != nil {
			b.Fatal(err)
		}
		override(t)
	}
}

func BenchmarkLookup(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := Lookup("torch.nn.functional.linear"); !ok {
			b.Fatal("no linear")
		}
	}
}
