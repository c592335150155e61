"""Losses of the manipulation transformer.

Every loss is a module that returns one number. Poses are in metres and in the
camera's frame, rotations are matrices, pixels count from the top left.

Predictions come in the dtype of the model, annotations in float32. Differences
are taken in float32 where rounding them would show: a bfloat16 metre ends after
three digits.
"""

from dataclasses import dataclass, fields
from typing import Dict, List, Optional, Tuple

import torch
import torch.nn as nn
import torch.nn.functional as F

# Parent of each hand joint; the wrist is its own parent.
PARENTS: List[int] = [0, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19]

# Joints at the tips of thumb, index, middle, ring and little finger.
FINGER_TIPS: List[int] = [4, 8, 12, 16, 20]


@dataclass(frozen=True)
class LossWeights:
    """How much each loss counts. Zero switches a loss off."""

    joints: float = 1.0
    bones: float = 0.5
    palm: float = 0.1
    reprojection: float = 0.01
    translation: float = 1.0
    rotation: float = 0.5
    classification: float = 0.1
    contact: float = 0.1
    penetration: float = 0.1
    smoothness: float = 0.01
    diversity: float = 0.001

    def validate(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if value < 0:
                raise ValueError(f"weight of {entry.name} is {value}, want 0 or more")


def masked_mean(values: torch.Tensor, mask: Optional[torch.Tensor] = None) -> torch.Tensor:
    """Mean of the values where the mask is true; zero if it is true nowhere.

    Args:
        values: any shape.
        mask: booleans of the same shape, or of one that broadcasts to it.
    """
    if mask is None:
        return values.mean()
    mask = mask.expand_as(values)
    kept = values.masked_fill(~mask, 0.0)
    return kept.sum() / mask.sum().clamp(min=1)


def rotation_from_6d(code: torch.Tensor) -> torch.Tensor:
    """Rotation matrices [..., 3, 3] from two columns [..., 6] (Zhou et al. 2019)."""
    first = F.normalize(code[..., :3], dim=-1)
    second = code[..., 3:] - (first * code[..., 3:]).sum(dim=-1, keepdim=True) * first
    second = F.normalize(second, dim=-1)
    third = torch.cross(first, second, dim=-1)
    return torch.stack([first, second, third], dim=-1)


def geodesic_angle(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Angle in radians between rotations [..., 3, 3], in float32.

    The arc cosine has no slope at 1, so the trace is kept a little below it.
    """
    relative = torch.matmul(a.float().transpose(-1, -2), b.float())
    trace = relative.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    cosine = ((trace - 1.0) / 2.0).clamp(-1.0 + 1e-6, 1.0 - 1e-6)
    return torch.acos(cosine)


class JointLoss(nn.Module):
    """Distance of predicted joints from annotated ones.

    Finger tips count more: they are small in the image, and contact depends on
    them.
    """

    def __init__(self, tip_weight: float = 2.0, beta: float = 0.01):
        super().__init__()
        self.tip_weight = tip_weight
        self.beta = beta

    def forward(
        self,
        pred_joints: torch.Tensor,
        target_joints: torch.Tensor,
        valid: Optional[torch.Tensor] = None,
    ) -> torch.Tensor:
        """Joints are [B, 21, 3], valid is [B, 21]."""
        difference = pred_joints.float() - target_joints.float()
        distance = F.smooth_l1_loss(
            difference, torch.zeros_like(difference), reduction="none", beta=self.beta
        )
        # The weights stay float32, as the difference is.
        weights = torch.ones(pred_joints.shape[1], device=pred_joints.device)
        weights[FINGER_TIPS] = self.tip_weight
        return masked_mean(distance.sum(dim=-1) * weights, valid)


class ConfidenceLoss(nn.Module):
    """Teaches the model to know which joints it got right.

    A joint is right when it lies within a radius of the annotated one.
    """

    def __init__(self, radius: float = 0.02):
        super().__init__()
        if radius <= 0:
            raise ValueError(f"radius is {radius}, want a positive length")
        self.radius = radius

    def forward(
        self,
        confidence: torch.Tensor,
        pred_joints: torch.Tensor,
        target_joints: torch.Tensor,
    ) -> torch.Tensor:
        """Confidence is [B, 21] between 0 and 1, joints are [B, 21, 3]."""
        distance = (pred_joints.detach().float() - target_joints.float()).norm(dim=-1)
        right = torch.where(distance < self.radius, 1.0, 0.0)
        return F.binary_cross_entropy(confidence.float(), right)


class TranslationLoss(nn.Module):
    """Distance of object translations, with more weight on the depth."""

    def __init__(self, depth_weight: float = 0.5):
        super().__init__()
        self.depth_weight = depth_weight

    def forward(
        self, pred: torch.Tensor, target: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Translations are [B, M, 3], the mask is [B, M]."""
        axis_weights = torch.tensor([1.0, 1.0, self.depth_weight], device=pred.device)
        error = (pred.float() - target.float()).abs() * axis_weights
        return masked_mean(error.sum(dim=-1), mask)


class RotationLoss(nn.Module):
    """Angle between predicted and annotated object rotations."""

    def forward(
        self, pred_rotation: torch.Tensor, target_rotation: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Rotations are [B, M, 3, 3], the mask is [B, M]."""
        return masked_mean(geodesic_angle(pred_rotation, target_rotation), mask)


class OrthogonalityLoss(nn.Module):
    """Keeps matrices that a network gives directly close to rotations."""

    def forward(self, matrices: torch.Tensor) -> torch.Tensor:
        """Matrices are [..., 3, 3]."""
        matrices = matrices.float()
        gram = torch.matmul(matrices.transpose(-1, -2), matrices)
        identity = torch.eye(3, device=matrices.device)
        return (gram - identity).pow(2).sum(dim=(-2, -1)).mean()


class SymmetricRotationLoss(nn.Module):
    """Angle between rotations of objects that half a turn maps to themselves.

    Cans and bowls look alike from both sides. For those the angle to the nearer
    of the two right answers counts, for all others the angle itself.
    """

    def __init__(self, max_angle: Optional[float] = None):
        super().__init__()
        self.max_angle = max_angle

    def forward(
        self,
        pred_rotation: torch.Tensor,
        target_rotation: torch.Tensor,
        symmetric: torch.Tensor,
        mask: torch.Tensor,
    ) -> torch.Tensor:
        """Rotations are [B, M, 3, 3], the masks are [B, M]."""
        if pred_rotation.shape != target_rotation.shape:
            raise ValueError("rotations of prediction and annotation differ in shape")
        angle = geodesic_angle(pred_rotation, target_rotation)

        # Half a turn about the object's own x axis, applied before its rotation.
        half_turn = torch.tensor([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]], device=pred_rotation.device)
        turned = torch.matmul(pred_rotation, half_turn)
        other = geodesic_angle(turned, target_rotation)
        angle = torch.where(symmetric, torch.minimum(angle, other), angle)
        if self.max_angle is not None:
            angle = angle.clamp(max=self.max_angle)
        return masked_mean(angle, mask)


class BoneLengthLoss(nn.Module):
    """Keeps the bones of the hand as long as the annotated ones."""

    def forward(self, pred_joints: torch.Tensor, target_joints: torch.Tensor) -> torch.Tensor:
        """Joints are [B, 21, 3]."""
        pred = self.lengths(pred_joints.float())
        target = self.lengths(target_joints.float())
        return F.l1_loss(pred, target)

    @staticmethod
    def lengths(joints: torch.Tensor) -> torch.Tensor:
        return (joints[:, 1:] - joints[:, PARENTS[1:]]).norm(dim=-1)


class PalmFrameLoss(nn.Module):
    """Compares the shape of hands regardless of where the palm looks.

    The joints are turned into the frame of the palm, whose first axis points
    to the root of the middle finger. The annotation comes in that frame.
    """

    def __init__(self, eps: float = 1e-6):
        super().__init__()
        self.eps = eps

    def palm_axes(self, joints: torch.Tensor) -> torch.Tensor:
        """Axes of the palm as columns, [B, 3, 3]."""
        forward = F.normalize(joints[:, 9] - joints[:, 0], dim=-1, eps=self.eps)
        side = joints[:, 5] - joints[:, 17]
        normal = F.normalize(torch.cross(forward, side, dim=-1), dim=-1, eps=self.eps)
        across = torch.cross(normal, forward, dim=-1)
        return torch.stack([forward, across, normal], dim=-1)

    def forward(
        self,
        pred_joints: torch.Tensor,
        target_local: torch.Tensor,
        valid: Optional[torch.Tensor] = None,
    ) -> torch.Tensor:
        """Joints are [B, 21, 3], the annotation lies in the palm's frame."""
        local = self.to_palm(pred_joints)
        error = (local.float() - target_local.float()).norm(dim=-1)
        return masked_mean(error, valid)

    def to_palm(self, pred_joints: torch.Tensor) -> torch.Tensor:
        """Joints in the frame of the palm, the wrist at the origin.

        Args:
            pred_joints: [B, 21, 3].

        Returns:
            [B, 21, 3], in the unit of the joints.
        """
        batch_size = pred_joints.shape[0]
        fingers = pred_joints[:, 1:] - pred_joints[:, :1]
        axes = self.palm_axes(pred_joints)

        # The wrist is the origin by definition, whatever the subtraction gives.
        wrist = torch.zeros(batch_size, 1, 3, device=pred_joints.device)
        centred = torch.cat([wrist, fingers], dim=1)
        return torch.matmul(centred, axes)


class ClassificationLoss(nn.Module):
    """Cross entropy over the objects, rare ones weighted up."""

    def __init__(self, num_classes: int, counts: Optional[List[int]] = None):
        super().__init__()
        if counts is not None and len(counts) != num_classes:
            raise ValueError(f"{len(counts)} counts for {num_classes} classes")
        self.num_classes = num_classes
        self.counts = counts

    def class_weights(self, device: torch.device) -> Optional[torch.Tensor]:
        """Weights [K] that are inverse to the counts and 1 in the mean."""
        if self.counts is None:
            return None
        counts = torch.tensor(self.counts, dtype=torch.float32, device=device)
        weights = 1.0 / counts.clamp(min=1.0)
        return weights / weights.mean()

    def forward(
        self, logits: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        """Logits are [B, M, K], ids and mask [B, M]."""
        weights = self.class_weights(logits.device)
        # Cross entropy refuses weights of another dtype than the logits.
        losses = F.cross_entropy(
            logits.float().flatten(0, 1), ids.flatten(), weight=weights, reduction="none"
        )
        return masked_mean(losses.view_as(ids), mask)


class SegmentationLoss(nn.Module):
    """Cross entropy and overlap of the object masks."""

    def __init__(self, overlap_weight: float = 1.0, smooth: float = 1.0):
        super().__init__()
        self.overlap_weight = overlap_weight
        self.smooth = smooth

    def forward(self, logits: torch.Tensor, segmentation: torch.Tensor) -> torch.Tensor:
        """Logits are [B, K, H, W], the segmentation [B, H, W] holds class numbers."""
        logits = logits.float()
        entropy = F.cross_entropy(logits, segmentation)
        if self.overlap_weight == 0:
            return entropy
        classes = logits.shape[1]
        target = F.one_hot(segmentation, classes).permute(0, 3, 1, 2).to(logits.dtype)
        pred = logits.softmax(dim=1)
        common = (pred * target).sum(dim=(2, 3))
        total = pred.sum(dim=(2, 3)) + target.sum(dim=(2, 3))
        overlap = (2.0 * common + self.smooth) / (total + self.smooth)
        return entropy + self.overlap_weight * (1.0 - overlap.mean())


class KeypointHeatmapLoss(nn.Module):
    """Squared error of heat maps, on the joints that can be seen."""

    def __init__(self, size: Tuple[int, int] = (16, 16), sigma: float = 1.0):
        super().__init__()
        self.height, self.width = size
        self.sigma = sigma

    def render(self, pixels: torch.Tensor) -> torch.Tensor:
        """Draws a Gaussian at each pixel position [B, 21, 2]; positions stay float32."""
        ys = torch.arange(self.height, device=pixels.device, dtype=torch.float32)
        xs = torch.arange(self.width, device=pixels.device, dtype=torch.float32)
        pixels = pixels.float()
        dx = xs.view(1, 1, 1, -1) - pixels[..., 0, None, None]
        dy = ys.view(1, 1, -1, 1) - pixels[..., 1, None, None]
        return torch.exp(-(dx.pow(2) + dy.pow(2)) / (2.0 * self.sigma**2))

    def forward(
        self, heatmaps: torch.Tensor, pixels: torch.Tensor, valid: torch.Tensor
    ) -> torch.Tensor:
        """Heat maps are [B, 21, H, W], pixels [B, 21, 2] in their resolution."""
        error = (heatmaps.float() - self.render(pixels)).pow(2).mean(dim=(-2, -1))
        return masked_mean(error, valid)


class ReprojectionLoss(nn.Module):
    """Distance in pixels between projected joints and annotated ones.

    Joints lie in the frame of the camera. Robust: errors beyond max_pixels count
    as max_pixels, since wrong labels are off by hundreds.
    """

    def __init__(self, max_pixels: float = 100.0, image_size: Tuple[int, int] = (64, 64)):
        super().__init__()
        if max_pixels <= 0:
            raise ValueError(f"max_pixels is {max_pixels}, want more than 0")
        self.max_pixels = max_pixels
        self.image_height, self.image_width = image_size

    def forward(
        self,
        joints_3d: torch.Tensor,
        target_2d: torch.Tensor,
        intrinsics: torch.Tensor,
        valid: Optional[torch.Tensor] = None,
    ) -> torch.Tensor:
        """Compares projections with the annotation.

        Args:
            joints_3d: [B, 21, 3] predicted joints, in metres.
            target_2d: [B, 21, 2] annotated pixels.
            intrinsics: [B, 3, 3] camera matrices, in pixels.
            valid: [B, 21] which annotations hold.
        """
        joints_2d, in_front = self.project(joints_3d, intrinsics)
        error = (joints_2d.float() - target_2d.float()).norm(dim=-1)
        error = error.clamp(max=self.max_pixels)
        usable = in_front if valid is None else in_front & valid
        return masked_mean(error, usable)

    def project(
        self, joints_3d: torch.Tensor, intrinsics: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Projects joints with a pinhole camera without distortion.

        Returns:
            [B, 21, 2] pixels, x first, and [B, 21] booleans that say which joints
            lie in front of the camera. Pixels of the others mean nothing.
        """
        # Behind the camera the division would mirror a joint into the image.
        in_front = joints_3d[..., 2] > 0.0

        # Rows are joints, hence the transposed matrix. The last component is the
        # depth, since the last row of the camera matrix is 0, 0, 1.
        joints_2d_proj = torch.matmul(joints_3d, intrinsics.transpose(-1, -2))
        joints_2d = joints_2d_proj[..., :2] / joints_2d_proj[..., 2:3]
        return joints_2d, in_front


class ImageBoundsLoss(nn.Module):
    """Keeps projected joints within the image, by a border in pixels."""

    def __init__(self, image_size: Tuple[int, int] = (64, 64), border: float = 4.0):
        super().__init__()
        self.image_size = image_size
        self.border = border

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels are [B, N, 2], x first."""
        pixels = pixels.float()
        height, width = self.image_size
        upper = torch.tensor([width - 1.0, height - 1.0], device=pixels.device)
        below = F.relu(-self.border - pixels)
        above = F.relu(pixels - upper - self.border)
        return (below + above).mean()


def nearest_distances(
    source: torch.Tensor, target: torch.Tensor, chunk: int = 256
) -> torch.Tensor:
    """Distance of each source point to the nearest target point, in float32.

    Args:
        source: [B, N, 3].
        target: [B, M, 3].
        chunk: how many source points are compared at once, to save memory.

    Returns:
        [B, N].
    """
    source, target = source.float(), target.float()
    parts = []
    for start in range(0, source.shape[1], chunk):
        distances = torch.cdist(source[:, start : start + chunk], target)
        parts.append(distances.min(dim=-1).values)
    return torch.cat(parts, dim=1)


class ChamferLoss(nn.Module):
    """Mean distance between two sets of points, both ways."""

    def __init__(self, chunk: int = 256):
        super().__init__()
        if chunk < 1:
            raise ValueError(f"chunk is {chunk}, want at least 1")
        self.chunk = chunk

    def forward(self, pred_points: torch.Tensor, target_points: torch.Tensor) -> torch.Tensor:
        """Points are [B, N, 3] and [B, M, 3]."""
        there = nearest_distances(pred_points, target_points, self.chunk)
        back = nearest_distances(target_points, pred_points, self.chunk)
        return there.mean() + back.mean()


class PointPoseLoss(nn.Module):
    """Moves an object's points by two poses and compares where they land.

    Counts rotation and translation in one unit, metres, weighted by the size of
    the object (the ADD metric).
    """

    def __init__(self, symmetric_nearest: bool = True):
        super().__init__()
        self.symmetric_nearest = symmetric_nearest

    @staticmethod
    def move(
        points: torch.Tensor, rotation: torch.Tensor, translation: torch.Tensor
    ) -> torch.Tensor:
        """Points [B, N, 3] under a pose [B, 3, 3], [B, 3], in float32."""
        rotated = torch.matmul(points.float(), rotation.float().transpose(-1, -2))
        return rotated + translation.float().unsqueeze(1)

    def forward(
        self,
        points: torch.Tensor,
        pred_rotation: torch.Tensor,
        pred_translation: torch.Tensor,
        target_rotation: torch.Tensor,
        target_translation: torch.Tensor,
        symmetric: torch.Tensor,
    ) -> torch.Tensor:
        """Poses are [B, 3, 3] and [B, 3], symmetric is [B]."""
        pred = self.move(points, pred_rotation, pred_translation)
        target = self.move(points, target_rotation, target_translation)
        error = (pred - target).norm(dim=-1)
        if self.symmetric_nearest:
            nearest = nearest_distances(pred, target)
            error = torch.where(symmetric.unsqueeze(-1), nearest, error)
        return error.mean()


class PenetrationLoss(nn.Module):
    """Pushes hand joints out of the object.

    The object is a set of balls around its points, which is crude but smooth.
    """

    def __init__(self, radius: float = 0.01):
        super().__init__()
        self.radius = radius

    def forward(self, joints: torch.Tensor, object_points: torch.Tensor) -> torch.Tensor:
        """Joints are [B, 21, 3], points [B, N, 3]."""
        depth = F.relu(self.radius - nearest_distances(joints, object_points))
        return depth.sum(dim=-1).mean()


class SmoothnessLoss(nn.Module):
    """Acceleration of the joints over a clip."""

    def forward(self, clip: torch.Tensor, lengths: Optional[torch.Tensor] = None) -> torch.Tensor:
        """The clip is [B, T, 21, 3]; lengths [B] say how many frames hold."""
        frames = clip.shape[1]
        if frames < 3:
            return clip.new_zeros(())
        acceleration = clip[:, 2:] - 2.0 * clip[:, 1:-1] + clip[:, :-2]
        error = acceleration.float().norm(dim=-1).mean(dim=-1)
        if lengths is None:
            return error.mean()
        steps = torch.arange(frames - 2, device=clip.device)
        mask = steps.unsqueeze(0) < (lengths - 2).unsqueeze(1)
        return masked_mean(error, mask)


class DiversityLoss(nn.Module):
    """Keeps the codes of a batch apart, so that the encoder does not collapse."""

    def __init__(self, target_std: float = 1.0, eps: float = 1e-4):
        super().__init__()
        self.target_std = target_std
        self.eps = eps

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        """Codes are [B, D]."""
        codes = codes.float()
        std = torch.sqrt(codes.var(dim=0, unbiased=False) + self.eps)
        spread = F.relu(self.target_std - std).mean()
        return spread + self.off_diagonal(codes)

    @staticmethod
    def off_diagonal(codes: torch.Tensor) -> torch.Tensor:
        """Mean square of the covariance between different dimensions."""
        centred = codes - codes.mean(dim=0, keepdim=True)
        covariance = torch.matmul(centred.t(), centred) / max(codes.shape[0] - 1, 1)
        size = codes.shape[1]
        keep = ~torch.eye(size, dtype=torch.bool, device=codes.device)
        return covariance[keep].pow(2).mean()


class PhysicsPrior(nn.Module):
    """How far joints leave the range that a hand can reach.

    The limits are cosines of the bend, one pair per inner joint of a finger.
    """

    def __init__(self, low: float = -0.5, high: float = 1.0):
        super().__init__()
        if not -1.0 <= low < high <= 1.0:
            raise ValueError(f"limits {low} and {high} are not cosines in order")
        self.register_buffer("low", torch.full((15,), low))
        self.register_buffer("high", torch.full((15,), high))

    def forward(self, bends: torch.Tensor) -> torch.Tensor:
        """Bends are cosines, [B, 15]."""
        below = F.relu(self.low.float() - bends.float())
        above = F.relu(bends.float() - self.high.float())
        return (below + above).mean()


class UncertaintyWeighting(nn.Module):
    """Learns how much each loss counts (Kendall et al. 2018)."""

    def __init__(self, names: List[str]):
        super().__init__()
        if len(set(names)) != len(names):
            raise ValueError("the names of the losses repeat")
        self.names = list(names)
        self.log_variances = nn.Parameter(torch.zeros(len(names)))

    def forward(self, losses: Dict[str, torch.Tensor]) -> torch.Tensor:
        """Weighs the losses by name; a missing one counts nothing."""
        total = torch.zeros((), device=self.log_variances.device)
        for index, name in enumerate(self.names):
            if name not in losses:
                continue
            log_variance = self.log_variances[index].float()
            total = total + torch.exp(-log_variance) * losses[name] + log_variance
        return total


class RunningScale:
    """Scales losses to one in the long run, without a gradient through the scale."""

    def __init__(self, momentum: float = 0.99):
        if not 0.0 <= momentum < 1.0:
            raise ValueError(f"momentum is {momentum}, want 0 to 1")
        self.momentum = momentum
        self.values: Dict[str, float] = {}

    def __call__(self, name: str, loss: torch.Tensor) -> torch.Tensor:
        value = abs(float(loss.detach()))
        before = self.values.get(name, value)
        self.values[name] = self.momentum * before + (1.0 - self.momentum) * value
        return loss / max(self.values[name], 1e-8)


class HandMetrics:
    """Sums up errors of the hand over a validation run, in millimetres."""

    def __init__(self) -> None:
        self.joint_error = 0.0
        self.count = 0
        self.within: Dict[int, int] = {10: 0, 20: 0, 50: 0}

    @torch.no_grad()
    def update(self, pred: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> None:
        """Adds a batch: joints [B, 21, 3] in metres, valid [B, 21]."""
        error = (pred.float() - target.float()).norm(dim=-1) * 1000.0
        error = error[valid]
        self.joint_error += float(error.sum())
        self.count += int(error.numel())
        for limit in self.within:
            self.within[limit] += int((error <= limit).sum())

    def summary(self) -> Dict[str, float]:
        """Mean error, and the share of joints within 10, 20 and 50 mm."""
        if self.count == 0:
            return {}
        shares = {f"within_{limit}mm": hits / self.count for limit, hits in self.within.items()}
        return {"mean_error_mm": self.joint_error / self.count, **shares}

    def reset(self) -> None:
        self.__init__()


def procrustes_align(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Moves, turns and scales joints [B, N, 3] onto their annotation, in float32.

    The decomposition knows no half precision; the result is for metrics.
    """
    pred, target = pred.float(), target.float()
    pred_mean = pred.mean(dim=1, keepdim=True)
    target_mean = target.mean(dim=1, keepdim=True)
    source, goal = pred - pred_mean, target - target_mean
    covariance = torch.matmul(source.transpose(1, 2), goal)
    u, s, vh = torch.linalg.svd(covariance)
    sign = torch.linalg.det(torch.matmul(u, vh)).sign()
    flip = torch.ones_like(s)
    flip[:, -1] = sign
    rotation = torch.matmul(u * flip.unsqueeze(1), vh)
    scale = (s * flip).sum(dim=-1) / source.pow(2).sum(dim=(1, 2)).clamp(min=1e-8)
    return scale.view(-1, 1, 1) * torch.matmul(source, rotation) + target_mean


class AlignedJointMetric(HandMetrics):
    """Errors after rigid alignment, known as PA-MPJPE."""

    @torch.no_grad()
    def update(self, pred: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> None:
        super().update(procrustes_align(pred, target), target, valid)


def pad_clips(clips: List[torch.Tensor], length: int) -> Tuple[torch.Tensor, torch.Tensor]:
    """Puts clips [T, 21, 3] of different lengths into one batch, in float32.

    Args:
        clips: at least one clip; longer ones than the length are cut.
        length: how many frames the batch has.

    Returns:
        [B, length, 21, 3] joints and [B] frames that hold, for SmoothnessLoss.
    """
    if not clips:
        raise ValueError("no clips to pad")
    first = clips[0]
    padded = torch.zeros(len(clips), length, *first.shape[1:], device=first.device)
    lengths = torch.zeros(len(clips), dtype=torch.long, device=first.device)
    for index, clip in enumerate(clips):
        frames = min(clip.shape[0], length)
        padded[index, :frames] = clip[:frames]
        lengths[index] = frames
    return padded, lengths


def mean_loss(losses: List[torch.Tensor]) -> torch.Tensor:
    """Mean of the losses of several steps."""
    if not losses:
        raise ValueError("no losses to average")
    # Begun in float32: a sum in bfloat16 stops growing at 256.
    total = torch.tensor(0.0, device=losses[0].device)
    for loss in losses:
        total = total + loss
    return total / len(losses)


class ContactLoss(nn.Module):
    """Distances between hand vertices and the object where they should touch.

    The model predicts a distance per vertex. Vertices that no camera sees have no
    annotation and add nothing to the loss; their distance may be infinite.
    """

    def __init__(self, scale: float = 0.01, positive_weight: float = 2.0):
        super().__init__()
        self.scale = scale
        self.positive_weight = positive_weight
        # How far the skin gives way, in metres; learned.
        self.skin = nn.Parameter(torch.tensor(0.002))

    def forward(
        self, pred_distances: torch.Tensor, contact: torch.Tensor, seen: torch.Tensor
    ) -> torch.Tensor:
        """Distances are [B, V] in metres, contact and seen are [B, V] booleans."""
        weight = torch.where(contact, self.positive_weight, 1.0)
        gap = self.beyond_skin(pred_distances)
        likely = torch.exp(-gap.float().abs() / self.scale).clamp(1e-6, 1.0 - 1e-6)
        losses = F.binary_cross_entropy(likely, contact.float(), weight=weight, reduction="none")
        return masked_mean(losses, seen)

    def beyond_skin(self, pred_distances: torch.Tensor) -> torch.Tensor:
        """The distances beyond the skin; infinite ones become 0."""
        gap = pred_distances - self.skin.to(pred_distances.dtype)
        held = torch.isfinite(gap)
        # By index and not by product: infinity times 0 is no number.
        filled = torch.zeros(gap.shape)
        filled[held] = gap[held]
        return filled


class ManipulationLoss(nn.Module):
    """All losses of a batch, each by name, and their weighted sum.

    Outputs are what ManipulationTransformer returns, the batch is what
    EnhancedDexYCB gives.
    """

    def __init__(self, num_classes: int, weights: Optional[LossWeights] = None):
        super().__init__()
        self.weights = weights or LossWeights()
        self.weights.validate()
        self.joints = JointLoss()
        self.confidence = ConfidenceLoss()
        self.bones = BoneLengthLoss()
        self.palm = PalmFrameLoss()
        self.reprojection = ReprojectionLoss()
        self.translation = TranslationLoss()
        self.rotation = SymmetricRotationLoss()
        self.classification = ClassificationLoss(num_classes)
        self.contact = ContactLoss()
        self.penetration = PenetrationLoss()
        self.diversity = DiversityLoss()

    def forward(
        self, outputs: Dict[str, torch.Tensor], batch: Dict[str, torch.Tensor]
    ) -> Dict[str, torch.Tensor]:
        joints, valid = outputs["joints"], batch["joint_valid"]
        mask = batch["object_mask"]
        target_local = self.palm.to_palm(batch["hand_joints"])
        seen = valid & (batch["hand_joints_2d"] < 1e4).all(dim=-1)
        near = nearest_distances(batch["hand_joints"], batch["object_points"]) < 0.01

        losses = {
            "joints": self.joints(joints, batch["hand_joints"], valid),
            "bones": self.bones(joints, batch["hand_joints"]),
            "palm": self.palm(joints, target_local, valid),
            "reprojection": self.reprojection(
                joints, batch["hand_joints_2d"], batch["intrinsics"], valid
            ),
            "translation": self.translation(
                outputs["translations"], batch["object_translations"], mask
            ),
            "rotation": self.rotation(
                outputs["rotations"], batch["object_rotations"], batch["object_symmetric"], mask
            ),
            "classification": self.classification(
                outputs["class_logits"], batch["object_ids"], mask
            ),
            "contact": self.contact(outputs["distances"], near, seen),
            "penetration": self.penetration(joints, batch["object_points"]),
            "diversity": self.diversity(outputs["code"]),
        }
        total = torch.zeros((), device=joints.device)
        for name, loss in losses.items():
            total = total + getattr(self.weights, name) * loss
        losses["confidence"] = self.confidence(
            outputs["confidence"], joints, batch["hand_joints"]
        )
        losses["total"] = total + 0.1 * losses["confidence"]
        return losses
