"""Runs the project under real PyTorch and checks what it is built to show.

    python3 smoke.py                  checks 1 to 4
    python3 smoke.py --float32        check 1 alone
    python3 smoke.py --original DIR   check 4 alone, of this folder as it is: it was
                                      made from the folder DIR by mending lines
    python3 smoke.py --original DIR --forms
                                      the same, but the projections were mended with
                                      the form that keeps float32

1. In float32 every module runs and every loss is finite.
2. In bfloat16 exactly the named lines misbehave: four of losses.py raise, the
   projection of pixel_aligned.py runs, but in float32.
3. The three edits of pixel_aligned.py need each other.
4. With all edits the project runs in bfloat16 and float64, outside and inside
   autocast, and in float32 gives the same bits as before.

Prints one line per check; the exit status is 1 if one of them fails. It is no
part of the pull request that brings the project in.
"""

import argparse
import importlib
import itertools
import json
import math
import os
import sys
import tempfile
import traceback
import types
import warnings

sys.dont_write_bytecode = True

import numpy as np
import torch

ROOT = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, ROOT)

BF16, F32, F64 = torch.bfloat16, torch.float32, torch.float64

# The lines that are wrong, and what they become. Each is a pair of texts of one
# line, as the review should suggest it.
ALIGNED = {
    92: ("device=points_3d.device)", "device=points_3d.device, dtype=points_3d.dtype)"),
    98: ("extrinsics.transpose", "extrinsics.to(points_homo.dtype).transpose"),
    107: ("intrinsics.transpose", "intrinsics.to(points_cam.dtype).transpose"),
}
LOSSES = {
    196: ("device=pred_rotation.device)", "device=pred_rotation.device, dtype=pred_rotation.dtype)"),
    263: ("device=pred_joints.device)", "device=pred_joints.device, dtype=pred_joints.dtype)"),
    395: ("intrinsics.transpose", "intrinsics.to(joints_3d.dtype).transpose"),
    726: ("torch.zeros(gap.shape)", "torch.zeros(gap.shape, dtype=gap.dtype, device=gap.device)"),
}

failures = 0


def check(name, function):
    """Runs one check and prints how it ended."""
    global failures
    try:
        detail = function()
    except Exception:  # a check that raises has failed, whatever it raised
        failures += 1
        print(f"FAIL {name}")
        traceback.print_exc()
        return
    print(f"ok   {name}" + (f": {detail}" if detail else ""))


def raises(function, text):
    """The message of the RuntimeError that a call raises; it must hold the text."""
    try:
        function()
    except RuntimeError as err:
        message = str(err).split("\n")[0]
        assert text in message, f"raised {message!r}, want {text!r}"
        return message
    raise AssertionError(f"did not raise {text!r}")


def load(name, path, edits=None):
    """A module from a file of the project, with lines edited."""
    with open(os.path.join(ROOT, path), encoding="utf-8") as stream:
        lines = stream.read().split("\n")
    for number, (old, new) in (edits or {}).items():
        assert old in lines[number - 1], f"{path}:{number} does not hold {old!r}"
        lines[number - 1] = lines[number - 1].replace(old, new)
    module = types.ModuleType(name)
    module.__file__ = path
    sys.modules[name] = module  # dataclasses look their module up
    exec(compile("\n".join(lines), path, "exec"), module.__dict__)
    return module


def project(mended=False, root=ROOT):
    """The project's modules, as they stand in a folder or with every line mended."""
    sys.path[0] = root
    for name in [m for m in sys.modules if m.split(".")[0] in ("models", "training", "data", "train")]:
        del sys.modules[name]
    for name in ("data", "training", "models", "models.encoders"):
        importlib.import_module(name)
    if mended:
        load("training.losses", "training/losses.py", LOSSES)
        load("models.pixel_aligned", "models/pixel_aligned.py", ALIGNED)
    return types.SimpleNamespace(
        losses=importlib.import_module("training.losses"),
        aligned=importlib.import_module("models.pixel_aligned"),
        hand=importlib.import_module("models.encoders.hand_encoder"),
        transformer=importlib.import_module("models.transformer"),
        dexycb=importlib.import_module("data.enhanced_dexycb"),
        train=importlib.import_module("train"),
    )


def write_dataset(root):
    """Two short sequences with two cameras and two objects."""
    random = np.random.default_rng(0)
    os.makedirs(os.path.join(root, "calibration"))
    matrix = np.eye(4)
    matrix[:3, 3] = [0.01, -0.02, 0.05]
    for serial in ("840412060917", "932122060857"):
        values = {"fx": 61.5, "fy": 61.7, "ppx": 31.9, "ppy": 23.8, "world_to_camera": matrix.tolist()}
        with open(os.path.join(root, "calibration", f"{serial}.json"), "w") as stream:
            json.dump(values, stream)
    objects = {"3": {"name": "can", "symmetric": True}, "7": {"name": "drill", "symmetric": False}}
    with open(os.path.join(root, "objects.json"), "w") as stream:
        json.dump(objects, stream)
    for subject, side in (("subject-01", "right"), ("subject-04", "left")):
        folder = os.path.join(root, subject, "sequence-1")
        meta = {
            "serials": ["840412060917", "932122060857"],
            "object_ids": [3, 7],
            "grasped": 1,
            "num_frames": 2,
            "side": side,
        }
        os.makedirs(folder)
        with open(os.path.join(folder, "meta.json"), "w") as stream:
            json.dump(meta, stream)
        for serial, frame in itertools.product(meta["serials"], range(2)):
            os.makedirs(os.path.join(folder, serial), exist_ok=True)
            image = random.integers(0, 256, (48, 64, 3), dtype=np.uint8)
            np.save(os.path.join(folder, serial, f"color_{frame:06d}.npy"), image)
            joints = random.normal(0, 0.05, (1, 21, 3)) + [0, 0, 0.6]
            poses = np.tile(np.eye(3, 4), (2, 1, 1))
            poses[:, :, 3] = random.normal(0, 0.05, (2, 3)) + [0, 0, 0.6]
            np.savez(
                os.path.join(folder, serial, f"labels_{frame:06d}.npz"),
                pose_y=poses.astype(np.float32),
                joint_3d=joints.astype(np.float32),
                joint_2d=random.uniform(5, 40, (1, 21, 2)).astype(np.float32),
                seg=random.choice([0, 3, 7], (48, 64)).astype(np.uint8),
            )


def hand(dtype, batch=2):
    torch.manual_seed(1)
    joints = torch.randn(batch, 21, 3) * 0.05
    joints[..., 2] += 0.6
    return joints.to(dtype)


def cameras(dtype=F32, batch=2):
    intrinsics = torch.tensor([[61.5, 0, 31.875], [0, 61.75, 23.8125], [0, 0, 1]], dtype=dtype)
    extrinsics = torch.eye(4)
    extrinsics[2, 3] = 0.0625
    return extrinsics.to(dtype).expand(batch, 4, 4), intrinsics.expand(batch, 3, 3)


def rotations(p, dtype, *shape):
    torch.manual_seed(2)
    return p.losses.rotation_from_6d(torch.randn(*shape, 6)).to(dtype)


def named(p, dtype):
    """The functions around the lines of losses.py that are wrong."""
    joints = hand(dtype)
    _, intrinsics = cameras()
    target = rotations(p, F32, 2, 4)
    symmetric = torch.tensor([[True, False, True, False]] * 2)
    reach = joints[..., 0].masked_fill(torch.arange(21) % 3 == 0, float("inf"))
    return {
        196: lambda: p.losses.SymmetricRotationLoss()(
            rotations(p, dtype, 2, 4).flip(0), target, symmetric, symmetric | True
        ),
        263: lambda: p.losses.PalmFrameLoss().to_palm(joints),
        395: lambda: p.losses.ReprojectionLoss().project(joints, intrinsics)[0],
        726: lambda: p.losses.ContactLoss().to(dtype).beyond_skin(reach),
    }


def silent(p, dtype):
    """Calls of everything else in losses.py and the models, all in one dtype."""
    l, joints = p.losses, hand(dtype)
    target, valid = hand(F32).flip(0), torch.ones(2, 21, dtype=torch.bool)
    mask = torch.ones(2, 4, dtype=torch.bool)
    pred_rotation, rotation = rotations(p, dtype, 2, 4), rotations(p, F32, 2, 4).flip(0)
    points = hand(F32)
    ids = torch.tensor([[3, 7, 0, 0]] * 2)
    frames = p.hand.JointFrames()
    extrinsics, intrinsics = cameras()
    tokens = torch.randn(2, 16, 64).to(dtype)
    maps = torch.randn(2, 64, 16, 16).to(dtype)
    names = l.UncertaintyWeighting(["a", "b"]).to(dtype)
    metrics, aligned = l.HandMetrics(), l.AlignedJointMetric()
    metrics.update(joints, target, valid)
    aligned.update(joints, target, valid)
    features = p.aligned.PixelAlignedFeatures(image_size=(64, 64)).to(dtype)
    views = p.aligned.MultiViewPixelAligned(features)
    several = [extrinsics.unsqueeze(1).expand(2, 2, 4, 4), intrinsics.unsqueeze(1).expand(2, 2, 3, 3)]
    point_features = torch.randn(2, 21, 64).to(dtype)
    padded, lengths = l.pad_clips([joints, joints[:1]], 5)
    world = frames(joints, hand(dtype, 2))
    return {
        "JointLoss": l.JointLoss()(joints, target, valid),
        "ConfidenceLoss": l.ConfidenceLoss()(torch.full((2, 21), 0.3).to(dtype), joints, target),
        "TranslationLoss": l.TranslationLoss()(joints[:, :4], target[:, :4], mask),
        "RotationLoss": l.RotationLoss()(pred_rotation, rotation, mask),
        "OrthogonalityLoss": l.OrthogonalityLoss()(pred_rotation),
        "BoneLengthLoss": l.BoneLengthLoss()(joints, target),
        "ClassificationLoss": l.ClassificationLoss(8, [5] * 8)(torch.randn(2, 4, 8).to(dtype), ids, mask),
        "SegmentationLoss": l.SegmentationLoss()(torch.randn(2, 8, 4, 4).to(dtype), ids[:, :, None].expand(2, 4, 4)),
        "KeypointHeatmapLoss": l.KeypointHeatmapLoss()(torch.rand(2, 21, 16, 16).to(dtype), target[..., :2], valid),
        "ImageBoundsLoss": l.ImageBoundsLoss()(joints[..., :2]),
        "ChamferLoss": l.ChamferLoss(8)(joints, target),
        "PointPoseLoss": l.PointPoseLoss()(points, pred_rotation[:, 0], joints[:, 0], rotation[:, 0], target[:, 0], mask[:, 0]),
        "PenetrationLoss": l.PenetrationLoss()(joints, points),
        "SmoothnessLoss": l.SmoothnessLoss()(padded, lengths),
        "DiversityLoss": l.DiversityLoss()(torch.randn(4, 8).to(dtype)),
        "PhysicsPrior": l.PhysicsPrior().to(dtype)(p.hand.bend_cosines(joints)),
        "UncertaintyWeighting": names({"a": joints.sum(), "b": joints.mean()}),
        "RunningScale": l.RunningScale()("a", joints.mean()),
        "HandMetrics": torch.tensor(metrics.summary()["mean_error_mm"]),
        "AlignedJointMetric": torch.tensor(aligned.summary()["mean_error_mm"]),
        "mean_loss": l.mean_loss([joints.mean(), joints.sum()]),
        "palm_normal": frames.palm_normal(joints),
        "rotate": frames.rotate(rotations(p, dtype, 2), joints),
        "JointFrames": world[1],
        "transform with directions": frames.transform_vertices_to_frames(joints, world[0], joints, joints),
        "bone_lengths": p.hand.bone_lengths(joints),
        "HandEncoder": p.hand.HandEncoder().to(dtype)(tokens, joints[:, 0])["joints"],
        "HandObjectFeatures": p.hand.HandObjectFeatures().to(dtype)(joints, joints),
        "FeaturePyramid": p.aligned.FeaturePyramid([64, 64], 64).to(dtype)([maps, maps[..., ::2, ::2]]),
        "PixelAlignedFeatures": features(point_features, joints, maps, extrinsics, intrinsics),
        "MultiViewPixelAligned": views(point_features, joints, maps.unsqueeze(1).expand(-1, 2, -1, -1, -1), *several),
    }


def finite(values):
    for name, value in values.items():
        assert torch.isfinite(value.float()).all(), f"{name} is not finite"
    return f"{len(values)} results finite"


def training_step(p, root, cast):
    """One step of train.py; cast says what the model is cast to, None float32."""
    torch.manual_seed(0)
    dataset = p.dexycb.EnhancedDexYCB(root, "train")
    batch = p.train.move(next(iter(torch.utils.data.DataLoader(dataset, batch_size=2))), torch.device("cpu"))
    model, criterion = p.train.build(8, torch.device("cpu"))
    if cast is not BF16:
        model, criterion = model.to(cast), criterion.to(cast)
    optimizer = torch.optim.AdamW(list(model.parameters()) + list(criterion.parameters()), lr=1e-4)
    losses = p.train.train_step(model, criterion, optimizer, batch)
    assert all(math.isfinite(value) for value in losses.values()), losses
    return f"total {losses['total']:.4f}"


def projected(edits, dtype, autocast=False):
    """What the projection gives with some of the three edits, or "raises"."""
    module = load("aligned_under_test", "models/pixel_aligned.py", edits)
    features = module.PixelAlignedFeatures(image_size=(64, 64))
    try:
        with torch.autocast("cpu", dtype=BF16, enabled=autocast):
            return str(features.project_points(hand(dtype), *cameras()).dtype)[6:]
    except RuntimeError as err:
        assert "expected scalar type" in str(err), err
        return "raises"


def chain():
    outcome = {}
    for chosen in itertools.product((0, 1), repeat=3):
        edits = {line: ALIGNED[line] for line, on in zip(ALIGNED, chosen) if on}
        outcome["".join(map(str, chosen))] = projected(edits, BF16)
    want = {key: "float32" for key in ("000", "001", "010", "011")}
    want.update({key: "raises" for key in ("100", "101", "110")})
    want["111"] = "bfloat16"
    assert outcome == want, outcome
    for edits in ({}, ALIGNED):
        assert projected(edits, F32, autocast=True) == "bfloat16"
    return " ".join(f"{key}={value}" for key, value in outcome.items())


def float32_samples(*datasets):
    for dataset in datasets:
        assert len(dataset) == 4 and set(dataset.object_names()) == {3, 7}
        for name, value in dataset[1].items():
            assert value.dtype in (F32, torch.int64, torch.bool), (name, value.dtype)
    return f"{len(datasets)} data sets"


def same_bits(before, after):
    for name, value in before.items():
        assert value.dtype == after[name].dtype and torch.equal(value, after[name]), name
    return f"{len(before)} results equal"


def seeded(p, function, dtype):
    torch.manual_seed(0)
    values = function(p, dtype)
    return {name: value() if callable(value) else value for name, value in values.items()}


def follows(value):
    assert value.dtype == BF16, value.dtype


def projection(p, dtype):
    features = p.aligned.PixelAlignedFeatures(image_size=(64, 64))
    return features.project_points(hand(dtype), *cameras())


def reference(moved):
    """The projection in float64, of joints as their dtype rounds them."""

    def project(dtype):
        points = hand(dtype).double()
        extrinsics, intrinsics = cameras(F64)
        if moved:
            points = points @ extrinsics[:, :3, :3].transpose(1, 2) + extrinsics[:, None, :3, 3]
        pixels = points @ intrinsics.transpose(1, 2)
        return pixels[..., :2] / pixels[..., 2:]

    return project


def precise(got, want, dtype):
    assert got.dtype == dtype, got.dtype
    error = (got.double() - want).abs().max().item()
    assert error < 0.001, f"{error:.3f} pixels off"
    return f"{error:.1e} pixels off"


def autocast(function):
    with torch.autocast("cpu", dtype=BF16):
        return function()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--float32", action="store_true")
    parser.add_argument("--original")
    parser.add_argument("--forms", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="dexycb-") as root:
        write_dataset(root)
        if args.original:
            check_mended(project(root=args.original), project, root, args.forms)
        else:
            check_float32(project(), root)
            if not args.float32:
                check_bfloat16(project(), root)
                check_mended(project(), lambda: project(mended=True), root)
    return 1 if failures else 0


def check_float32(p, root):
    check("float32: losses and modules", lambda: finite(seeded(p, silent, F32)))
    check("float32: named lines", lambda: finite(seeded(p, named, F32)))
    check("float32: training step", lambda: training_step(p, root, F32))
    check("float32 under autocast: named lines", lambda: finite(autocast(lambda: seeded(p, named, F32))))
    augmented = p.dexycb.Augmentation(0.5, 0.2, 0.2, 0.1, 0.0, 0.01)
    dataset = p.dexycb.EnhancedDexYCB(root, "train", augmentation=augmented)
    left = p.dexycb.EnhancedDexYCB(root, "val")
    check("data set gives float32", lambda: float32_samples(dataset, left))


def check_bfloat16(p, root):
    check("bfloat16: losses and modules", lambda: finite(seeded(p, silent, BF16)))
    for dtype in (BF16, F64):
        for line, call in named(p, dtype).items():
            if (line, dtype) == (263, F64):
                continue  # torch.cat widens float32 to the float64 of the joints
            text = "Index put requires" if line == 726 else "expected scalar type"
            check(f"{dtype}: losses.py:{line} raises", lambda: raises(call, text))
    check("bfloat16: training step raises", lambda: raises(lambda: training_step(p, root, BF16), "expected scalar type"))
    check("pixel_aligned.py: edits 92, 95-99, 107", chain)


def check_mended(p, mend, root, forms=False):
    before = {"silent": seeded(p, silent, F32), "named": seeded(p, named, F32)}
    q = mend()
    for dtype in (BF16, F64):
        check(f"mended, {dtype}: named lines", lambda: finite(seeded(q, named, dtype)))
        check(f"mended, {dtype}: training step", lambda: training_step(q, root, dtype))
    check("mended under autocast: named lines", lambda: finite(autocast(lambda: seeded(q, named, F32))))
    check("mended, float32: same bits in named lines", lambda: same_bits(before["named"], seeded(q, named, F32)))
    check("mended, float32: same bits elsewhere", lambda: same_bits(before["silent"], seeded(q, silent, F32)))
    results = named(q, BF16)
    for line in (263, 726):  # 196 gives a loss, in float32 on purpose
        check(f"mended, bfloat16: losses.py:{line} follows", lambda: follows(results[line]()))
    projections = {
        "losses.py:395": lambda dtype: named(q, dtype)[395](),
        "pixel_aligned.py": lambda dtype: projection(q, dtype),
    }
    for name, call in projections.items():
        if not forms:
            check(f"mended, bfloat16: {name} follows", lambda: follows(call(BF16)))
            continue
        exact = reference(moved=name == "pixel_aligned.py")
        check(f"float32 form, bfloat16: {name}", lambda: precise(call(BF16), exact(BF16), F32))
        check(f"float32 form, float64: {name}", lambda: precise(call(F64), exact(F64), F64))
        for dtype in (F32, BF16):
            check(f"float32 form, {dtype} under autocast: {name}", lambda: precise(autocast(lambda: call(dtype)), exact(dtype), F32))



if __name__ == "__main__":
    sys.exit(main())
