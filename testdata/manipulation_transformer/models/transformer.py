"""The manipulation transformer: image and camera in, hand and objects out."""

from typing import Dict, Tuple

import torch
import torch.nn as nn

from models.encoders.hand_encoder import HandEncoder, HandObjectFeatures
from models.pixel_aligned import FeaturePyramid, PixelAlignedFeatures
from training.losses import rotation_from_6d


class Backbone(nn.Module):
    """A small convolutional backbone with strides 4 and 8."""

    def __init__(self, dim: int):
        super().__init__()
        self.stem = nn.Conv2d(3, dim // 2, kernel_size=7, stride=2, padding=3)
        self.first = nn.Sequential(
            nn.GroupNorm(4, dim // 2), nn.GELU(), nn.Conv2d(dim // 2, dim, 3, 2, 1)
        )
        self.second = nn.Sequential(nn.GroupNorm(4, dim), nn.GELU(), nn.Conv2d(dim, dim, 3, 2, 1))

    def forward(self, image: torch.Tensor) -> Tuple[torch.Tensor, torch.Tensor]:
        # Images arrive in float32, the weights say what is computed in.
        image = image.to(self.stem.weight.dtype)
        fine = self.first(self.stem(image))
        return fine, self.second(fine)


class ManipulationTransformer(nn.Module):
    """Predicts hand joints, object poses and hand-object distances."""

    def __init__(
        self,
        dim: int = 64,
        num_objects: int = 4,
        num_classes: int = 22,
        image_size: Tuple[int, int] = (64, 64),
    ):
        super().__init__()
        self.backbone = Backbone(dim)
        self.pyramid = FeaturePyramid([dim, dim], dim)
        self.hand = HandEncoder(dim)
        self.aligned = PixelAlignedFeatures(dim, dim, 2 * dim, image_size)
        self.hand_object = HandObjectFeatures(dim)
        self.object_queries = nn.Parameter(torch.zeros(1, num_objects, dim))
        nn.init.trunc_normal_(self.object_queries, std=0.02)
        layer = nn.TransformerDecoderLayer(dim, 4, 2 * dim, dropout=0.0, batch_first=True)
        self.decoder = nn.TransformerDecoder(layer, num_layers=1)
        self.translation_head = nn.Linear(dim, 3)
        self.rotation_head = nn.Linear(dim, 6)
        self.class_head = nn.Linear(dim, num_classes)
        self.distance_head = nn.Linear(dim, 1)

    def forward(
        self, image: torch.Tensor, extrinsics: torch.Tensor, intrinsics: torch.Tensor
    ) -> Dict[str, torch.Tensor]:
        """Image [B, 3, H, W], matrices [B, 4, 4] and [B, 3, 3]."""
        stages = self.backbone(image)
        feature_map = self.pyramid(stages)
        tokens = feature_map.flatten(2).transpose(1, 2)

        hand = self.hand(tokens)
        joints = hand["joints"]
        features = self.aligned(hand["features"], joints, feature_map, extrinsics, intrinsics)

        queries = self.object_queries.expand(image.shape[0], -1, -1)
        objects = self.decoder(queries, torch.cat([tokens, features], dim=1))
        translations = self.translation_head(objects)
        around = self.hand_object(joints, translations)
        return {
            "joints": joints,
            "confidence": hand["confidence"],
            "code": hand["code"],
            "translations": translations,
            "rotations": rotation_from_6d(self.rotation_head(objects)),
            "class_logits": self.class_head(objects),
            "distances": self.distance_head(features + around).squeeze(-1),
        }
