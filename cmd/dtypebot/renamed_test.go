package main

import (
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// renamedIdentifiers are the names that the project defines: modules, classes,
// functions, parameters, variables, attributes and dictionary keys. Left out is
// what libraries prescribe: forward, keyword arguments, methods of tensors.
const renamedIdentifiers = `
AlignedJointMetric Augmentation Backbone BoneLengthLoss COLOR_MEAN COLOR_STD Camera ChamferLoss ClassificationLoss ConfidenceLoss ContactLoss
DiversityLoss EnhancedDexYCB FINGER_TIPS FeaturePyramid Frame HandEncoder HandMetrics HandObjectFeatures ImageBoundsLoss JointFrames JointLoss
KeypointHeatmapLoss LossWeights ManipulationLoss ManipulationTransformer MultiViewPixelAligned NUM_JOINTS NUM_SAMPLED_POINTS OrthogonalityLoss
PARENTS PalmFrameLoss PenetrationLoss PhysicsPrior PixelAlignedFeatures PointPoseLoss ReprojectionLoss RotationLoss RunningScale SPLITS
SegmentationLoss SmoothnessLoss SymmetricRotationLoss TokenPooling TranslationLoss UncertaintyWeighting _hand _index _index_sequence _load_cameras
_load_image _load_labels _load_symmetries _matrices _object_poses _points _prepare _to_tensors above acceleration across after aligned archive
attention augmentation axes axis_weights back backbone batch before below bend_cosines bends bone bone_lengths bones border box box_of brightness
build camera cameras centred centres channels chosen class_head class_logits class_weights classification clips code code_dim code_head codes color
color_path columns common compute_frames confidence confidence_head contact contrast cosine cosines counts covariance criterion crop crop_box
crop_height crop_width cx cy data depth depth_weight difference directions distance distance_head distances diversity dx dy encoders enhanced_dexycb
entropy entry epoch error extrinsics factor fallback feature_dim feature_map feature_maps features filled fine finest finger_of fingers first
flip_joints flips folder frame frame_along frames fuse fused fx fy gap geodesic_angle goal gram grasped half_turn hand hand_box hand_encoder hand_joints
hand_joints_2d hand_object heatmaps height hidden_dim high hits image image_height image_size image_width in_front inside intrinsics joint
joint_error joint_head joint_mlp joint_noise joint_valid joint_weight joints joints_2d joints_2d_proj joints_3d keep kept label_path labels lateral
lattice layer layers left length lengths likely limit load_mean loader local log_variance log_variances loss losses low mask masked_mean matrices
max_angle max_objects max_pixels mean_error_mm mean_loss merged meta mirrored missing model models move near nearest nearest_distances noise
normalise normalise_color num_classes num_objects num_queries object_id object_ids object_names object_points object_queries object_rotations
object_translations objects off_diagonal beyond_skin held optimizer order origins other outputs overlap overlap_weight pad_clips padded palm palm_axes
palm_normal parent parser parts penetration per_vertex pixel_aligned point_dim point_features point_mlp points points_2d points_2d_homo points_3d
points_cam points_homo pool poses position positive_weight ppx ppy pred pred_distances pred_joints pred_mean pred_points pred_rotation
pred_translation procrustes_align project project_points pyramid queries radius relative render reprojection resize_nearest right rotate rotated
rotation rotation_from_6d rotation_head rotations row rows sampled scale scale_x scale_y second seed_worker seen segmentation sequence serial shares
side sigma skin slot smooth smoothness spread stage stages start stem subject subjects summary symmetric symmetric_nearest symmetries target_2d
target_joints target_local target_mean target_points target_rotation target_std target_translation tensors there third tip_weight to_frame to_index
to_little to_palm tokens top total train train_step training transform_vertices_to_frames transformer translation translation_head translations turn
turned usable val valid validate vertices vh views visible visible_share weights width within worker world_to_camera wrist x_axis xs y_axis y_global
ys z_axis
`

// A rewriting gives a project other names and other lines and keeps what it
// does.
type rewriting struct {
	names map[string]string
	lines map[string][]int // by original path: the new line of each old line, 0 when deleted
}

// unchanged is the rewriting that changes nothing.
func unchanged() *rewriting { return &rewriting{} }

var word = regexp.MustCompile(`[A-Za-z_][A-Za-z_0-9]*`)

// keepers are texts whose words look like the project's but are a library's.
var (
	keepers   = strings.NewReplacer("utils.data", "utils.\x00", "--batch-size", "--\x01-size", `mode="nearest"`, "mode=\"\x02\"")
	unkeepers = strings.NewReplacer("\x00", "data", "\x01", "batch", "\x02", "nearest")
)

// text renames the words of a text.
func (r *rewriting) text(s string) string {
	s = word.ReplaceAllStringFunc(keepers.Replace(s), func(name string) string {
		if other, ok := r.names[name]; ok {
			return other
		}
		return name
	})
	return unkeepers.Replace(s)
}

// path renames the folders and the file of a path.
func (r *rewriting) path(p string) string {
	if path.Base(p) == "smoke.py" || path.Ext(p) != ".py" {
		return p
	}
	return r.text(strings.TrimSuffix(p, ".py")) + ".py"
}

// line returns where a line of the original went.
func (r *rewriting) line(p string, n int) int {
	if lines := r.lines[p]; lines != nil {
		return lines[n-1]
	}
	return n
}

// statement tells lines that begin a statement, so that a comment may stand
// above; within a docstring it does no harm.
var statement = regexp.MustCompile(`^( {4,})(return |[a-z_]\w* = |def \w)`)

// rewrite returns the project with every name, file and line changed, and how.
func rewrite(t *testing.T, project map[string]string) (map[string]string, *rewriting) {
	t.Helper()
	r := &rewriting{names: newNames(t, project), lines: map[string][]int{}}
	return r.relaid(project), r
}

// newNames invents a name for each identifier of the project.
func newNames(t *testing.T, project map[string]string) map[string]string {
	t.Helper()
	names := map[string]string{}
	everything := strings.Join(slices.Collect(maps.Values(project)), "\n") + strings.Join(slices.Collect(maps.Keys(project)), "\n")
	used := map[string]bool{}
	for _, name := range word.FindAllString(everything, -1) {
		used[name] = true
	}
	for i, name := range strings.Fields(renamedIdentifiers) {
		if !used[name] {
			t.Errorf("the project has no %s to rename", name)
		}
		other := invent(name, i)
		if used[other] {
			t.Fatalf("the invented name %s is taken", other)
		}
		used[other] = true
		names[name] = other
	}
	return names
}

// relaid returns the project with the new names, with comments and blank lines
// put in and blank lines taken out.
func (r *rewriting) relaid(project map[string]string) map[string]string {
	result := map[string]string{}
	for p, text := range project {
		if path.Base(p) == "smoke.py" || path.Ext(p) != ".py" {
			result[r.path(p)] = r.text(text)
			continue
		}
		out := []string{"# Rewritten.", ""}
		lines := strings.Split(text, "\n")
		for n, line := range lines {
			switch {
			case line == "" && n%3 != 0 && n > 0 && n < len(lines)-1:
				// Some blank lines vanish.
				r.lines[p] = append(r.lines[p], 0)
				continue
			case statement.MatchString(line) && n%4 == 1 && !decorated(out):
				indent := statement.FindStringSubmatch(line)[1]
				out = append(out, "", fmt.Sprintf("%s# Step %d.", indent, n))
			}
			out = append(out, r.text(line))
			r.lines[p] = append(r.lines[p], len(out))
		}
		result[r.path(p)] = strings.Join(out, "\n")
	}
	return result
}

// decorated reports whether the last line is a decorator.
func decorated(lines []string) bool {
	return strings.HasPrefix(strings.TrimSpace(lines[len(lines)-1]), "@")
}

// invent makes a name in the style of another (Class, CONSTANT, _private,
// plain) that shares nothing else with it.
func invent(name string, i int) string {
	syllables := []string{"ba", "ce", "di", "fo", "gu", "ka", "le", "mi", "no", "pu", "ra", "se", "ti", "vo", "zu"}
	other := "q" + syllables[i%15] + syllables[i/15%15] + syllables[(i*7+i/225)%15]
	if i%3 == 0 {
		other += "_" + syllables[i/3%15]
	}
	switch {
	case strings.ToUpper(name) == name:
		return strings.ToUpper(other)
	case name[0] >= 'A' && name[0] <= 'Z':
		return strings.ToUpper(other[:1]) + other[1:]
	case name[0] == '_':
		return "_" + other
	}
	return other
}
