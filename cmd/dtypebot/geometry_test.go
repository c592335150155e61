package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGeometrySetting asks for projections in float32: the form is the suggestion
// then, proven as any other, and the cast is shown as code.
func TestGeometrySetting(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join("..", "..", "testdata", "manipulation_transformer"))); err != nil {
		t.Fatal(err)
	}
	suggestion := func() string {
		out, _ := runVerb(t, "check", "--color", "never", "--root", dir, filepath.Join(dir, "models", "pixel_aligned.py"), filepath.Join(dir, "train.py"))
		return out
	}
	const cast, float32 = "│ +         points_2d_homo = torch.matmul(points_cam, intrinsics.to(points_cam.dtype)", "│ +         with torch.autocast(points_homo.device.type, enabled=False):"
	if out := suggestion(); !strings.Contains(out, cast) || strings.Contains(out, float32) {
		t.Errorf("without the setting:\n%s", out)
	}
	if err := os.WriteFile(filepath.Join(dir, "dtypebot.toml"), []byte("geometry = \"float32\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := suggestion(); strings.Contains(out, cast) || !strings.Contains(out, float32) || !strings.Contains(out, "With casts alone") {
		t.Errorf("with the setting:\n%s", out)
	}
}
