from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from small_run import write_prepared

from fader_demo.attributes import AttributeSchema
from train.data import BatchSampler, PreparedFaces
from train.glasses import dark_glasses

SIDE = 64


def worn_by(tmp_path: Path, lenses: list[int], labels: list[int]) -> PreparedFaces:
    """Grey faces whose lenses are as light as said, in bytes."""
    images = np.full((len(lenses), SIDE, SIDE, 3), 180, np.uint8)
    for image, lens in zip(images, lenses, strict=True):
        image[26:34, 18:30] = image[26:34, 34:46] = lens
    rows = [(f"{i}.png", "train", label) for i, label in enumerate(labels)]
    write_prepared(tmp_path, images, ("id", "split", "Eyeglasses"), rows)
    return PreparedFaces(tmp_path, "train", AttributeSchema.from_config([{"name": "Eyeglasses"}]))


def test_dark_lenses_are_told_from_clear_ones(tmp_path: Path) -> None:
    faces = worn_by(tmp_path, lenses=[20, 170, 70, 95], labels=[1, 1, 1, 1])
    assert dark_glasses(faces).tolist() == [True, False, True, False]


def test_dark_eyes_are_no_glasses(tmp_path: Path) -> None:
    faces = worn_by(tmp_path, lenses=[20, 20], labels=[0, 1])
    assert dark_glasses(faces).tolist() == [False, True]


def test_a_model_without_glasses_leaves_no_face_out(tmp_path: Path) -> None:
    faces = worn_by(tmp_path, lenses=[20, 20], labels=[1, 1])
    faces.schema = AttributeSchema.from_config([{"name": "Smiling"}])
    assert not dark_glasses(faces).any()


def test_what_is_left_out_is_in_no_batch_and_what_is_left_is_balanced(tmp_path: Path) -> None:
    faces = worn_by(tmp_path, lenses=[20] * 10 + [170] * 30, labels=[1] * 20 + [0] * 20)
    sampler = BatchSampler(faces, 16, seed=0, left_out=dark_glasses(faces))
    shown = torch.cat([sampler(step).images[:, 0, 30, 22] for step in range(30)])
    assert shown.min() > 0
    torch.testing.assert_close(sampler.prior, torch.tensor([0.5]))
