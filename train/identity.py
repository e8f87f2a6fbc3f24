"""Who is in a picture: face embeddings, to measure whether an edit leaves a person the same."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import dlib
import torch
from torch import Tensor
from torchvision.transforms.functional import InterpolationMode, resized_crop

from fader_demo.faces import TEMPLATE

CHIP = 150
"""Side of the pictures that dlib's network was trained on."""
CHIP_EYES = (0.3182, 0.6685, 0.3142)
"""Where those have the eyes: x of the left and of the right in the picture, y of both."""
STRANGERS = 0.05
"""Share of pairs of two people that are taken for one."""


class FaceEmbedder:
    """Aligned faces (N, 3, S, S) in [-1, 1] -> embeddings (N, 128) of unit length.

    dlib's residual network (99.4 % on Labeled Faces in the Wild), which saw none of our training.
    """

    def __init__(self) -> None:
        package = find_spec("face_recognition_models")
        if package is None or package.origin is None:
            raise ModuleNotFoundError("pip install -r train/requirements.txt")
        weights = Path(package.origin).parent / "models/dlib_face_recognition_resnet_model_v1.dat"
        self.network = dlib.face_recognition_model_v1(str(weights))

    def __call__(self, images: Tensor) -> Tensor:
        left, top, side = _chip(images.shape[-1])
        chips = resized_crop(
            images, top, left, side, side, [CHIP, CHIP], InterpolationMode.BILINEAR, antialias=True
        )
        pixels = chips.add(1).mul(127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1)
        found = [self.network.compute_face_descriptor(p.contiguous().numpy()) for p in pixels]
        return torch.nn.functional.normalize(torch.tensor([list(f) for f in found]), dim=1)


def _chip(size: int) -> tuple[int, int, int]:
    """Left, top and side of the part of an aligned face that dlib's pictures show."""
    (left_eye, y), (right_eye, _) = TEMPLATE["left_eye"], TEMPLATE["right_eye"]
    side = (right_eye - left_eye) / (CHIP_EYES[1] - CHIP_EYES[0])
    return (
        round(size * (left_eye - CHIP_EYES[0] * side)),
        round(size * (y - CHIP_EYES[2] * side)),
        round(size * side),
    )
