"""Realism: distances between the distributions of edited and of real faces."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_run import ATTRIBUTES, SIZE

from fader_demo.attributes import AttributeSchema
from fader_demo.model import Fader
from train import realism
from train.data import PreparedFaces, encode
from train.edits import Edits
from train.judge import Judge
from train.realism import JudgeFeatures, kernel_distance, realism_figures

SCHEMA = AttributeSchema.from_config(ATTRIBUTES)


def test_the_distance_grows_from_none_with_the_difference() -> None:
    drawn = torch.Generator().manual_seed(0)
    real, alike, near, far = (torch.randn(400, 16, generator=drawn) + s for s in (0, 0, 0.3, 1))
    assert abs(kernel_distance(real, alike)) < 0.02
    assert 0.05 < kernel_distance(real, near) < kernel_distance(real, far) / 3


def test_few_faces_have_a_distance_as_well() -> None:
    drawn = torch.Generator().manual_seed(0)
    real, few = (torch.randn(count, 16, generator=drawn) for count in (400, 40))
    assert abs(kernel_distance(real, few)) < 0.1 < kernel_distance(real, few + 1)


def test_a_distance_is_the_same_each_time_and_leaves_chance_alone() -> None:
    real, made = torch.randn(350, 8), torch.randn(350, 8)
    before = torch.random.get_rng_state()
    assert kernel_distance(real, made) == kernel_distance(real, made)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_features_are_what_the_last_layer_reads() -> None:
    judge = Judge(ATTRIBUTES).eval()
    images = torch.rand(3, 3, SIZE, SIZE) * 2 - 1
    read = judge(images)
    torch.testing.assert_close(judge.network.fc(JudgeFeatures(judge)(images)), read)
    torch.testing.assert_close(judge(images), read)


def test_an_edit_that_paints_the_label_on_comes_nearer_than_the_untouched_photo(
    prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The label Smiling is a light upper half, so lighting it is the perfect edit."""
    monkeypatch.setattr(realism, "FEWEST_FACES", 10)

    class Painted(Edits):
        def edited(self, part: torch.Tensor, index: int, strength: float) -> torch.Tensor:
            pictures = self.faces.batch(part).images.clone()
            pictures[:, :, : SIZE // 2] += (1 if strength > 0.5 else -1) * 60 / 127.5
            return pictures.clamp(-1, 1)

    torch.manual_seed(0)
    fader = Fader(ATTRIBUTES, image_size=SIZE, width=4, max_width=8, depth=3).eval()
    train, faces = (
        PreparedFaces(prepared, split, SCHEMA, {"Beard": "not No_Beard"})
        for split in ("train", "test")
    )
    edits = Painted(fader, Judge(ATTRIBUTES).eval(), faces, encode(fader, faces))
    figures = realism_figures(edits, train)
    kid = figures["Smiling"]["kid"]
    for direction in ("on", "off"):
        assert kid[direction]["kid"] < kid[f"untouched_{direction}"]["kid"] / 2
    smiling = int(faces.labels[:, 0].sum())
    assert kid["on"]["n"] == kid["untouched_on"]["n"] == 40 - smiling
    assert kid["reconstruction_on"]["n"] == smiling
    assert "reconstruction_on" not in figures["Beard"]["kid"]  # too few have one
