package python

import (
	"strings"
	"testing"
)

// BenchmarkParse parses 150 KB of ordinary code, about what one pull request
// changes.
func BenchmarkParse(b *testing.B) {
	source := strings.Repeat(scopes+`
def collate(batch, *, dtype: torch.dtype = torch.float32):
    """Stacks the images of a batch."""
    images = torch.stack([x["image"].to(dtype) for x in batch if x is not None])
    for i, x in enumerate(batch):
        if x.mask is not None and x.mask.dtype != torch.bool:
            raise TypeError(f"mask {i} has {x.mask.dtype}")  # checked by the loader
    return {"image": images, "label": torch.tensor([x["label"] for x in batch])}
`, 230)
	b.SetBytes(int64(len(source)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(source); err != nil {
			b.Fatal(err)
		}
	}
}
