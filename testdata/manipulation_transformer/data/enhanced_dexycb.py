"""DexYCB with what the manipulation transformer needs on top.

The data set is a folder of sequences::

    calibration/<serial>.json      fx, fy, ppx, ppy, and the world-to-camera matrix
    objects.json                   names and symmetries of the objects
    <subject>/<sequence>/meta.json serials, object ids, frames, side of the hand
    <subject>/<sequence>/<serial>/color_000000.npy    uint8 image, H x W x 3
    <subject>/<sequence>/<serial>/labels_000000.npz   pose_y, joint_3d, joint_2d, seg

Everything that leaves the data set is float32, whatever the model computes in:
workers do not know the model's dtype, and NumPy has no bfloat16.
"""

import json
import os
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch.utils.data import Dataset

NUM_JOINTS = 21
NUM_SAMPLED_POINTS = 128

# Mean and standard deviation of the colours, in the range 0 to 1.
COLOR_MEAN = (0.485, 0.456, 0.406)
COLOR_STD = (0.229, 0.224, 0.225)

# Subjects of each split, after the s1 (unseen subjects) protocol.
SPLITS: Dict[str, Tuple[str, ...]] = {
    "train": ("subject-01", "subject-02", "subject-03"),
    "val": ("subject-04",),
    "test": ("subject-05",),
}


@dataclass(frozen=True)
class Camera:
    """A calibrated camera: focal lengths and principal point in pixels."""

    serial: str
    fx: float
    fy: float
    ppx: float
    ppy: float
    world_to_camera: Tuple[Tuple[float, ...], ...]

    @classmethod
    def load(cls, path: str) -> "Camera":
        serial = os.path.splitext(os.path.basename(path))[0]
        with open(path, encoding="utf-8") as stream:
            values = json.load(stream)
        matrix = tuple(tuple(row) for row in values["world_to_camera"])
        if len(matrix) != 4 or any(len(row) != 4 for row in matrix):
            raise ValueError(f"{path}: world_to_camera is not 4 x 4")
        return cls(serial, values["fx"], values["fy"], values["ppx"], values["ppy"], matrix)


@dataclass(frozen=True)
class Frame:
    """One image of one camera: where it lies and what belongs to it."""

    folder: str
    serial: str
    index: int
    object_ids: Tuple[int, ...]
    grasped: int
    side: str

    @property
    def color_path(self) -> str:
        return os.path.join(self.folder, self.serial, f"color_{self.index:06d}.npy")

    @property
    def label_path(self) -> str:
        return os.path.join(self.folder, self.serial, f"labels_{self.index:06d}.npz")


@dataclass
class Augmentation:
    """What happens to training images. Zero everywhere means nothing."""

    flip: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    crop: float = 0.0
    rotation: float = 0.0
    joint_noise: float = 0.0
    generator: np.random.Generator = field(default_factory=np.random.default_rng)

    def color(self, image: np.ndarray) -> np.ndarray:
        """Changes brightness and contrast of a float32 image in 0 to 1."""
        if self.brightness > 0:
            image = image + self.generator.uniform(-self.brightness, self.brightness)
        if self.contrast > 0:
            factor = 1.0 + self.generator.uniform(-self.contrast, self.contrast)
            mean = image.mean()
            image = (image - mean) * factor + mean
        return image.clip(0.0, 1.0).astype(np.float32)

    def flips(self) -> bool:
        return self.flip > 0 and self.generator.random() < self.flip

    def crop_box(self, height: int, width: int) -> Tuple[int, int, int, int]:
        """Top, left, height and width of a crop that keeps the aspect ratio."""
        if self.crop <= 0:
            return 0, 0, height, width
        scale = 1.0 - self.generator.uniform(0.0, self.crop)
        crop_height, crop_width = int(height * scale), int(width * scale)
        top = int(self.generator.integers(0, height - crop_height + 1))
        left = int(self.generator.integers(0, width - crop_width + 1))
        return top, left, crop_height, crop_width

    def noise(self, joints: np.ndarray) -> np.ndarray:
        """Adds normal noise, in metres, to joints."""
        if self.joint_noise <= 0:
            return joints
        noise = self.generator.normal(0.0, self.joint_noise, size=joints.shape)
        return (joints + noise).astype(joints.dtype)


def resize_nearest(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resizes an image or a label map by picking the nearest pixel."""
    rows = np.arange(height) * image.shape[0] // height
    columns = np.arange(width) * image.shape[1] // width
    return image[rows[:, None], columns[None, :]]


def normalise_color(image: np.ndarray) -> np.ndarray:
    """Takes the colours' mean and deviation out of a float32 image."""
    mean = np.asarray(COLOR_MEAN, dtype=np.float32)
    std = np.asarray(COLOR_STD, dtype=np.float32)
    return (image - mean) / std


def box_of(points: np.ndarray, margin: float = 0.1) -> np.ndarray:
    """The box x0, y0, x1, y1 around points, widened by a share of its size."""
    low, high = points.min(axis=0), points.max(axis=0)
    border = (high - low) * margin
    return np.concatenate([low - border, high + border])


def flip_joints(joints: np.ndarray) -> np.ndarray:
    """Mirrors joints at the plane x = 0 and leaves the input alone."""
    mirrored = joints.copy()
    mirrored[..., 0] *= -1
    return mirrored


def visible_share(segmentation: np.ndarray, object_id: int) -> float:
    """Which share of the image an object covers."""
    return float((segmentation == object_id).mean())


class EnhancedDexYCB(Dataset):
    """Frames of DexYCB with poses of hand and objects and sampled points.

    Args:
        root: folder of the data set.
        split: "train", "val" or "test".
        image_size: height and width of the images that are returned.
        max_objects: how many objects a sample describes; others are dropped,
            missing ones are padded and masked.
        augmentation: what happens to training images; never applied to others.
        subjects: takes the place of the split's subjects.
    """

    def __init__(
        self,
        root: str,
        split: str = "train",
        image_size: Tuple[int, int] = (64, 64),
        max_objects: int = 4,
        augmentation: Optional[Augmentation] = None,
        subjects: Optional[Sequence[str]] = None,
    ):
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}, want one of {', '.join(SPLITS)}")
        if max_objects < 1:
            raise ValueError(f"max_objects is {max_objects}, want at least 1")
        self.root = root
        self.split = split
        self.image_size = image_size
        self.max_objects = max_objects
        self.augmentation = augmentation if split == "train" else None
        self.cameras = self._load_cameras()
        self.symmetries = self._load_symmetries()
        self.frames = self._index(subjects or SPLITS[split])

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Dict[str, torch.Tensor]:
        frame = self.frames[index]
        labels = self._load_labels(frame)
        image = self._load_image(frame)
        camera = self.cameras[frame.serial]
        sample = self._prepare(frame, labels, image, camera)
        return self._to_tensors(sample)

    def _load_cameras(self) -> Dict[str, Camera]:
        folder = os.path.join(self.root, "calibration")
        cameras = {}
        for name in sorted(os.listdir(folder)):
            if name.endswith(".json"):
                camera = Camera.load(os.path.join(folder, name))
                cameras[camera.serial] = camera
        if not cameras:
            raise FileNotFoundError(f"{folder} holds no calibration")
        return cameras

    def _load_symmetries(self) -> Dict[int, bool]:
        """Says of each object id whether half a turn leaves it as it is."""
        path = os.path.join(self.root, "objects.json")
        with open(path, encoding="utf-8") as stream:
            objects = json.load(stream)
        return {int(key): bool(value["symmetric"]) for key, value in objects.items()}

    def _index(self, subjects: Sequence[str]) -> List[Frame]:
        frames: List[Frame] = []
        for subject in subjects:
            folder = os.path.join(self.root, subject)
            if not os.path.isdir(folder):
                continue
            for sequence in sorted(os.listdir(folder)):
                frames.extend(self._index_sequence(os.path.join(folder, sequence)))
        return frames

    def _index_sequence(self, folder: str) -> List[Frame]:
        with open(os.path.join(folder, "meta.json"), encoding="utf-8") as stream:
            meta = json.load(stream)
        frames = []
        for serial in meta["serials"]:
            if serial not in self.cameras:
                raise KeyError(f"{folder}: camera {serial} is not calibrated")
            for index in range(meta["num_frames"]):
                frames.append(
                    Frame(
                        folder=folder,
                        serial=serial,
                        index=index,
                        object_ids=tuple(meta["object_ids"]),
                        grasped=meta["grasped"],
                        side=meta["side"],
                    )
                )
        return frames

    def _load_labels(self, frame: Frame) -> Dict[str, np.ndarray]:
        with np.load(frame.label_path) as archive:
            labels = {name: archive[name] for name in archive.files}
        missing = {"pose_y", "joint_3d", "joint_2d", "seg"} - set(labels)
        if missing:
            raise KeyError(f"{frame.label_path}: no {', '.join(sorted(missing))}")
        return labels

    def _load_image(self, frame: Frame) -> np.ndarray:
        image = np.load(frame.color_path)
        if image.dtype != np.uint8 or image.ndim != 3:
            raise ValueError(f"{frame.color_path}: want uint8 H x W x 3")
        return image.astype(np.float32) / 255.0

    def _object_poses(
        self, frame: Frame, labels: Dict[str, np.ndarray]
    ) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Poses [M, 3, 4], ids [M] and a mask [M] of the objects, grasped first."""
        order = sorted(
            range(len(frame.object_ids)), key=lambda position: position != frame.grasped
        )
        poses = np.zeros((self.max_objects, 3, 4), dtype=np.float32)
        poses[:, :, :3] = np.eye(3, dtype=np.float32)
        ids = np.zeros(self.max_objects, dtype=np.int64)
        mask = np.zeros(self.max_objects, dtype=bool)
        for slot, position in enumerate(order[: self.max_objects]):
            poses[slot] = labels["pose_y"][position]
            ids[slot] = frame.object_ids[position]
            mask[slot] = True
        return poses, ids, mask

    def _hand(self, frame: Frame, labels: Dict[str, np.ndarray]) -> Dict[str, np.ndarray]:
        """Joints of the hand; left hands are mirrored into right ones."""
        joints = labels["joint_3d"].reshape(NUM_JOINTS, 3).astype(np.float32)
        pixels = labels["joint_2d"].reshape(NUM_JOINTS, 2).astype(np.float32)
        valid = (pixels >= 0).all(axis=-1)
        if frame.side == "left":
            joints = flip_joints(joints)
        if self.augmentation is not None:
            joints = self.augmentation.noise(joints)
        return {"joints": joints, "pixels": pixels, "valid": valid}

    def _points(self, poses: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Points on the surface of a small ball at each object, [P, 3].

        The directions are a Fibonacci lattice, so that a sample has the same
        points every time it is read.
        """
        count = int(mask.sum())
        if count == 0:
            return np.zeros((NUM_SAMPLED_POINTS, 3), dtype=np.float32)
        steps = (np.arange(NUM_SAMPLED_POINTS) + 0.5) / NUM_SAMPLED_POINTS
        polar = np.arccos(1.0 - 2.0 * steps)
        turn = np.pi * (1.0 + 5.0**0.5) * np.arange(NUM_SAMPLED_POINTS)
        lattice = np.stack(
            [np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)], axis=-1
        )
        centres = poses[mask][:, :, 3]
        chosen = centres[np.arange(NUM_SAMPLED_POINTS) % count]
        return (chosen + 0.05 * lattice).astype(np.float32)

    def _matrices(
        self, camera: Camera, box: Tuple[int, int, int, int]
    ) -> Tuple[np.ndarray, np.ndarray]:
        """Matrices of a camera whose image is cropped and resized.

        Args:
            camera: the camera as it was calibrated.
            box: top, left, height and width of the crop, in its pixels.

        Returns:
            intrinsics [3, 3] for the resized image, and extrinsics [4, 4].
        """
        top, left, crop_height, crop_width = box
        scale_y = self.image_size[0] / crop_height
        scale_x = self.image_size[1] / crop_width

        fx, fy = camera.fx * scale_x, camera.fy * scale_y
        cx = (camera.ppx - left) * scale_x
        cy = (camera.ppy - top) * scale_y

        # OpenCV's convention: x to the right, y down, pixels from the top left.
        rows = [[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]]
        intrinsics = np.array(rows, dtype=np.float32)
        extrinsics = np.array(camera.world_to_camera, dtype=np.float32)
        return intrinsics, extrinsics

    def _prepare(
        self, frame: Frame, labels: Dict[str, np.ndarray], image: np.ndarray, camera: Camera
    ) -> Dict[str, Any]:
        height, width = image.shape[:2]
        box = (0, 0, height, width)
        if self.augmentation is not None:
            box = self.augmentation.crop_box(height, width)
            image = self.augmentation.color(image)
        top, left, crop_height, crop_width = box
        image = image[top : top + crop_height, left : left + crop_width]
        segmentation = labels["seg"][top : top + crop_height, left : left + crop_width]

        intrinsics, extrinsics = self._matrices(camera, box)
        poses, ids, mask = self._object_poses(frame, labels)
        hand = self._hand(frame, labels)
        scale = np.array(
            [self.image_size[1] / crop_width, self.image_size[0] / crop_height], dtype=np.float32
        )
        pixels = (hand["pixels"] - np.array([left, top], dtype=np.float32)) * scale
        return {
            "image": normalise_color(resize_nearest(image, *self.image_size)),
            "segmentation": resize_nearest(segmentation, *self.image_size).astype(np.int64),
            "intrinsics": intrinsics,
            "extrinsics": extrinsics,
            "joints": hand["joints"],
            "pixels": pixels,
            "box": box_of(pixels),
            "joint_valid": hand["valid"],
            "poses": poses,
            "ids": ids,
            "mask": mask,
            "points": self._points(poses, mask),
        }

    def _to_tensors(self, sample: Dict[str, Any]) -> Dict[str, torch.Tensor]:
        tensors = {
            "image": torch.tensor(sample["image"], dtype=torch.float32).permute(2, 0, 1),
            "intrinsics": torch.tensor(sample["intrinsics"], dtype=torch.float32),
            "extrinsics": torch.tensor(sample["extrinsics"], dtype=torch.float32),
            "hand_joints": torch.tensor(sample["joints"], dtype=torch.float32),
            "hand_joints_2d": torch.tensor(sample["pixels"], dtype=torch.float32),
            "object_rotations": torch.tensor(sample["poses"][:, :, :3], dtype=torch.float32),
            "object_translations": torch.tensor(sample["poses"][:, :, 3], dtype=torch.float32),
            "object_points": torch.tensor(sample["points"], dtype=torch.float32),
            "hand_box": torch.tensor(sample["box"], dtype=torch.float32),
            "joint_weight": torch.tensor(sample["joint_valid"], dtype=torch.float32),
        }
        tensors["segmentation"] = torch.from_numpy(sample["segmentation"])
        tensors["joint_valid"] = torch.from_numpy(sample["joint_valid"])
        tensors["object_ids"] = torch.from_numpy(sample["ids"])
        tensors["object_mask"] = torch.from_numpy(sample["mask"])
        symmetric = [self.symmetries.get(int(key), False) for key in sample["ids"]]
        tensors["object_symmetric"] = torch.tensor(symmetric, dtype=torch.bool)
        return tensors

    def object_names(self) -> Dict[int, str]:
        """Names of the objects by id."""
        path = os.path.join(self.root, "objects.json")
        with open(path, encoding="utf-8") as stream:
            objects = json.load(stream)
        return {int(key): value["name"] for key, value in objects.items()}


def seed_worker(worker: int) -> None:
    """Gives every worker of a DataLoader its own stream of random numbers."""
    np.random.seed((torch.initial_seed() + worker) % 2**32)
