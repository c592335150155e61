"""Pixel-aligned features: look up image features where 3D points project to."""

from typing import Sequence, Tuple

import torch
import torch.nn as nn
import torch.nn.functional as F


class FeaturePyramid(nn.Module):
    """Maps backbone stages of several strides to one width each."""

    def __init__(self, in_channels: Sequence[int], out_channels: int):
        super().__init__()
        self.lateral = nn.ModuleList(
            nn.Conv2d(channels, out_channels, kernel_size=1) for channels in in_channels
        )
        self.smooth = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1)

    def forward(self, stages: Sequence[torch.Tensor]) -> torch.Tensor:
        finest = stages[0]
        merged = self.lateral[0](finest)
        for layer, stage in zip(self.lateral[1:], stages[1:]):
            lateral = layer(stage)
            merged = merged + F.interpolate(lateral, size=finest.shape[-2:], mode="nearest")
        return self.smooth(merged)


class PixelAlignedFeatures(nn.Module):
    """Refines point features with the image features under each point.

    Points live in the world frame of the rig. They are projected with the
    camera of each sample, the feature map is read there, and both kinds of
    features are fused by a small MLP.
    """

    def __init__(
        self,
        feature_dim: int = 64,
        point_dim: int = 64,
        hidden_dim: int = 128,
        image_size: Tuple[int, int] = (480, 640),
    ):
        super().__init__()
        if min(image_size) < 2:
            raise ValueError(f"image of {image_size[0]}x{image_size[1]} has no pixels to sample between")

        # Height first, as in the shape of an image tensor.
        self.image_height, self.image_width = image_size
        self.fuse = nn.Sequential(
            nn.Linear(feature_dim + point_dim + 1, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, point_dim),
        )
        self.norm = nn.LayerNorm(point_dim)

    def forward(
        self,
        point_features: torch.Tensor,
        points_3d: torch.Tensor,
        feature_map: torch.Tensor,
        extrinsics: torch.Tensor,
        intrinsics: torch.Tensor,
    ) -> torch.Tensor:
        """Returns refined point features [B, N, point_dim]."""
        points_2d = self.project_points(points_3d, extrinsics, intrinsics)
        sampled, inside = self.sample(feature_map, points_2d)
        visible = inside.to(point_features.dtype).unsqueeze(-1)
        fused = self.fuse(torch.cat([point_features, sampled, visible], dim=-1))
        return self.norm(point_features + fused)

    def project_points(
        self,
        points_3d: torch.Tensor,
        extrinsics: torch.Tensor,
        intrinsics: torch.Tensor,
    ) -> torch.Tensor:
        """Projects points with a pinhole camera.

        Args:
            points_3d: [B, N, 3] points in the world frame, in metres.
            extrinsics: [B, 4, 4] world-to-camera matrices.
            intrinsics: [B, 3, 3] camera matrices, in pixels.

        Returns:
            [B, N, 2] pixel positions, x first. Points behind the camera land
            far outside of the image.
        """
        B, N, _ = points_3d.shape

        # Homogeneous coordinates, so that the translation is one product.
        ones = torch.ones(B, N, 1, device=points_3d.device)
        points_homo = torch.cat([points_3d, ones], dim=-1)

        points_cam = torch.matmul(
            points_homo,
            # Points are rows here, the matrices are made for columns.
            extrinsics.transpose(-1, -2)
        )[..., :3]

        if points_cam.shape[1] != N:
            raise ValueError(
                f"{points_cam.shape[1]} camera points for {N} world points; "
                "extrinsics must be [B, 4, 4]"
            )

        points_2d_homo = torch.matmul(points_cam, intrinsics.transpose(-1, -2))
        depth = points_2d_homo[..., 2:3].clamp(min=1e-3)
        points_2d = points_2d_homo[..., :2] / depth
        return points_2d

    def normalise(self, points_2d: torch.Tensor) -> torch.Tensor:
        """Maps pixels to the [-1, 1] that grid_sample wants."""
        x = 2.0 * points_2d[..., 0] / (self.image_width - 1) - 1.0
        y = 2.0 * points_2d[..., 1] / (self.image_height - 1) - 1.0
        return torch.stack([x, y], dim=-1)

    def sample(
        self, feature_map: torch.Tensor, points_2d: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Reads the feature map at pixel positions.

        The lookup runs in float32: a grid of bfloat16 knows 256 positions
        between 0.5 and 1, which is coarser than the pixels of the image.

        Returns:
            [B, N, C] features in the dtype of the map, and [B, N] booleans that
            say which points lie inside the image.
        """
        grid = self.normalise(points_2d.float())
        sampled = F.grid_sample(
            feature_map.float(),
            grid.unsqueeze(2),
            mode="bilinear",
            padding_mode="zeros",
            align_corners=True,
        )
        sampled = sampled.squeeze(-1).transpose(1, 2).to(feature_map.dtype)
        inside = (grid.abs() <= 1.0).all(dim=-1)
        return sampled, inside


class MultiViewPixelAligned(nn.Module):
    """Averages the refined features over the views that see a point."""

    def __init__(self, aligned: PixelAlignedFeatures):
        super().__init__()
        self.aligned = aligned

    def forward(
        self,
        point_features: torch.Tensor,
        points_3d: torch.Tensor,
        feature_maps: torch.Tensor,
        extrinsics: torch.Tensor,
        intrinsics: torch.Tensor,
    ) -> torch.Tensor:
        """Like PixelAlignedFeatures, with a view axis after the batch axis."""
        total = torch.zeros_like(point_features)
        views = feature_maps.shape[1]
        for view in range(views):
            total = total + self.aligned(
                point_features,
                points_3d,
                feature_maps[:, view],
                extrinsics[:, view],
                intrinsics[:, view],
            )
        return total / views
