"""Hand encoder: from image tokens to MANO-like joints, and joint frames."""

from typing import Dict, List, Optional, Tuple

import torch
import torch.nn as nn
import torch.nn.functional as F

NUM_JOINTS = 21

# Parent of each joint: the wrist, then four joints per finger from the palm
# outwards. The wrist is its own parent.
PARENTS: List[int] = [0, 0, 1, 2, 3, 0, 5, 6, 7, 0, 9, 10, 11, 0, 13, 14, 15, 0, 17, 18, 19]


class TokenPooling(nn.Module):
    """Lets a set of learned queries read from image tokens."""

    def __init__(self, num_queries: int, dim: int, num_heads: int = 4):
        super().__init__()
        self.queries = nn.Parameter(torch.zeros(1, num_queries, dim))
        nn.init.trunc_normal_(self.queries, std=0.02)
        self.attention = nn.MultiheadAttention(dim, num_heads, batch_first=True)
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        queries = self.queries.expand(tokens.shape[0], -1, -1)
        read, _ = self.attention(queries, tokens, tokens, need_weights=False)
        return self.norm(queries + read)


class HandEncoder(nn.Module):
    """Predicts joints and a residual code for one hand."""

    def __init__(self, dim: int = 64, num_layers: int = 2, code_dim: int = 32):
        super().__init__()
        self.pool = TokenPooling(NUM_JOINTS, dim)
        layer = nn.TransformerEncoderLayer(
            dim, nhead=4, dim_feedforward=2 * dim, dropout=0.0, batch_first=True
        )
        self.layers = nn.TransformerEncoder(layer, num_layers)
        self.joint_head = nn.Linear(dim, 3)
        self.confidence_head = nn.Linear(dim, 1)
        self.code_head = nn.Linear(dim, code_dim)
        self.register_buffer("mean_joints", torch.zeros(NUM_JOINTS, 3))

    def load_mean(self, joints: torch.Tensor) -> None:
        """Sets the mean hand, [21, 3] in metres relative to the wrist."""
        if joints.shape != self.mean_joints.shape:
            raise ValueError(f"mean hand of shape {tuple(joints.shape)}, want (21, 3)")
        self.mean_joints.copy_(joints)

    def forward(
        self, tokens: torch.Tensor, wrist: Optional[torch.Tensor] = None
    ) -> Dict[str, torch.Tensor]:
        """Reads a hand from tokens [B, T, dim].

        Args:
            tokens: image tokens.
            wrist: [B, 3] where the wrist is, in metres; the joints stay relative
                to the wrist when it is missing.
        """
        features = self.layers(self.pool(tokens))
        offsets = self.joint_head(features)
        joints = self.mean_joints.unsqueeze(0) + offsets
        if wrist is not None:
            joints = joints + wrist.unsqueeze(1)
        confidence = torch.sigmoid(self.confidence_head(features)).squeeze(-1)
        return {
            "joints": joints,
            "confidence": confidence,
            "code": self.code_head(features.mean(dim=1)),
            "features": features,
        }


def bone_lengths(joints: torch.Tensor) -> torch.Tensor:
    """Lengths of the 20 bones, [B, 20], in the unit of the joints."""
    parents = joints[:, PARENTS]
    bones = joints[:, 1:] - parents[:, 1:]
    return bones.norm(dim=-1)


def bend_cosines(joints: torch.Tensor) -> torch.Tensor:
    """Cosine of the bend at the 15 inner joints, [B, 15]; 1 is a straight finger."""
    cosines = []
    for joint in range(1, NUM_JOINTS):
        if joint % 4 == 0:
            continue  # a finger tip does not bend
        parent = PARENTS[joint]
        before = joints[:, joint] - joints[:, parent]
        after = joints[:, joint + 1] - joints[:, joint]
        cosines.append(F.cosine_similarity(before, after, dim=-1))
    return torch.stack(cosines, dim=-1)


def finger_of(joint: int) -> int:
    """Which finger a joint belongs to: 0 thumb to 4 little finger, -1 the wrist."""
    if not 0 <= joint < NUM_JOINTS:
        raise ValueError(f"joint {joint} is not within 0 to {NUM_JOINTS - 1}")
    return (joint - 1) // 4 if joint > 0 else -1


class JointFrames(nn.Module):
    """Builds a coordinate frame at every joint and moves vertices into it.

    A frame's z axis runs along the bone that ends in the joint, its x axis is
    horizontal. Manipulation policies see the object in these frames, so that
    what they learn does not depend on where the hand is. A finger that points
    straight up has no horizontal x axis of its own and gets the world's.
    """

    def __init__(self, eps: float = 1e-6):
        super().__init__()
        if eps <= 0:
            raise ValueError(f"eps is {eps}, want a positive length")
        self.eps = eps

    def forward(
        self, joints: torch.Tensor, vertices: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Returns rotations [B, 21, 3, 3] and the vertices in every frame."""
        rotations, origins = self.compute_frames(joints)
        return rotations, self.transform_vertices_to_frames(vertices, rotations, origins)

    def compute_frames(
        self, joints: torch.Tensor
    ) -> Tuple[torch.Tensor, torch.Tensor]:
        """Frames of all joints.

        Args:
            joints: [B, 21, 3].

        Returns:
            rotations [B, 21, 3, 3] whose rows are the axes, and origins
            [B, 21, 3].
        """
        batch_size = joints.shape[0]
        device = joints.device

        # Filled joint by joint, in the dtype of the hand.
        rotations = torch.zeros(batch_size, NUM_JOINTS, 3, 3, device=device, dtype=joints.dtype)
        origins = torch.zeros(batch_size, NUM_JOINTS, 3, device=device, dtype=joints.dtype)

        for joint in range(NUM_JOINTS):
            if joint == 0:
                # The wrist looks towards the root of the middle finger.
                bone = joints[:, 9] - joints[:, 0]
            else:
                bone = joints[:, joint] - joints[:, PARENTS[joint]]
            rotations[:, joint] = self.frame_along(bone)
            origins[:, joint] = joints[:, joint]
        return rotations, origins

    def palm_normal(self, joints: torch.Tensor) -> torch.Tensor:
        """Unit normal of the palm, [B, 3], from wrist, index and little finger.

        It points out of the back of a right hand.
        """
        to_index = joints[:, 5] - joints[:, 0]
        to_little = joints[:, 17] - joints[:, 0]
        normal = torch.cross(to_index, to_little, dim=-1)
        return F.normalize(normal, dim=-1, eps=self.eps)

    def frame_along(self, bone: torch.Tensor) -> torch.Tensor:
        """A right-handed frame [B, 3, 3] whose z axis runs along a bone [B, 3]."""
        device = bone.device
        z_axis = F.normalize(bone, dim=-1, eps=self.eps)

        # The image's y axis points down; any fixed direction would do.
        y_global = torch.tensor([0, 1, 0], device=device, dtype=z_axis.dtype)
        y_global = y_global.expand_as(z_axis)

        x_axis = torch.cross(y_global, z_axis, dim=-1)
        length = x_axis.norm(dim=-1, keepdim=True)
        fallback = torch.zeros_like(x_axis)
        fallback[:, 0] = 1.0
        x_axis = torch.where(length > self.eps, x_axis / length.clamp(min=self.eps), fallback)
        y_axis = torch.cross(z_axis, x_axis, dim=-1)
        return torch.stack([x_axis, y_axis, z_axis], dim=-2)

    @staticmethod
    def rotate(rotation: torch.Tensor, vertices: torch.Tensor) -> torch.Tensor:
        """Rotates vertices [B, V, 3] by one rotation [B, 3, 3] per sample."""
        if rotation.shape[-2:] != (3, 3):
            raise ValueError(f"rotation of shape {tuple(rotation.shape)}, want [B, 3, 3]")
        if vertices.shape[-1] != 3:
            raise ValueError(f"vertices of shape {tuple(vertices.shape)}, want [B, V, 3]")

        # Columns are what a rotation multiplies.
        rotated = torch.matmul(rotation, vertices.transpose(1, 2))
        return rotated.transpose(1, 2)

    @staticmethod
    def transform_vertices_to_frames(
        vertices: torch.Tensor,
        rotations: torch.Tensor,
        origins: torch.Tensor,
        directions: Optional[torch.Tensor] = None,
    ) -> torch.Tensor:
        """Moves vertices into every joint's frame.

        Args:
            vertices: [B, V, 3] in the frame that the origins are in.
            rotations: [B, 21, 3, 3], rows are axes.
            origins: [B, 21, 3].
            directions: [B, V, 3] normals, which are only rotated.

        Returns:
            [B, 21, V, 3], or [B, 21, V, 6] with directions.
        """
        if rotations.shape[:2] != origins.shape[:2]:
            raise ValueError(
                f"{tuple(rotations.shape[:2])} rotations for {tuple(origins.shape[:2])} origins"
            )

        # Vertices and origins are rotated apart: the vertices broadcast over the
        # joints inside the product, and there is never a [B, 21, V, 3] copy of
        # the differences beside the result.
        to_frame = rotations.transpose(-1, -2)
        local = torch.matmul(vertices.unsqueeze(1), to_frame)
        local = local - torch.matmul(origins.unsqueeze(2), to_frame)
        if directions is not None:
            local = torch.cat([local, torch.matmul(directions.unsqueeze(1), to_frame)], dim=-1)
        return local


class HandObjectFeatures(nn.Module):
    """Encodes object vertices as the joints of the hand see them."""

    def __init__(self, dim: int = 64):
        super().__init__()
        self.frames = JointFrames()
        self.point_mlp = nn.Sequential(nn.Linear(3, dim), nn.ReLU(), nn.Linear(dim, dim))
        self.joint_mlp = nn.Linear(dim, dim)

    def forward(self, joints: torch.Tensor, vertices: torch.Tensor) -> torch.Tensor:
        """Returns [B, 21, dim]: one object code per joint."""
        _, local = self.frames(joints, vertices)
        per_vertex = self.point_mlp(local)
        return self.joint_mlp(per_vertex.amax(dim=2))
