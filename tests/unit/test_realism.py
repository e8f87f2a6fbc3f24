"""Realism: distances between the distributions of edited and of real faces."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_run import ATTRIBUTES, SIZE
from torchmetrics.image.kid import KernelInceptionDistance

from fader_demo.attributes import AttributeSchema
from fader_demo.model import Fader
from train import realism
from train.bootstrap import People
from train.data import PreparedFaces, encode
from train.edits import Edits
from train.judge import Judge
from train.realism import JudgeFeatures, RealFaces, realism_figures

SCHEMA = AttributeSchema.from_config(ATTRIBUTES)


def distance(real: torch.Tensor, made: torch.Tensor) -> float:
    return RealFaces(real, torch.ones(len(real))).distance(made, torch.ones(1, len(made))).item()


def test_the_distance_grows_from_none_with_the_difference() -> None:
    drawn = torch.Generator().manual_seed(0)
    real, alike, near, far = (torch.randn(400, 16, generator=drawn) + s for s in (0, 0, 0.3, 1))
    assert abs(distance(real, alike)) < 0.02
    assert 0.05 < distance(real, near) < distance(real, far) / 3


def test_the_distance_is_that_of_the_metrics_library() -> None:
    drawn = torch.Generator().manual_seed(0)
    real, made = (torch.randn(200, 16, generator=drawn) + shift for shift in (0, 0.5))
    metric = KernelInceptionDistance(torch.nn.Identity(), subsets=1, subset_size=200)
    metric.update(real, real=True)
    metric.update(made, real=False)
    assert distance(real, made) == pytest.approx(metric.compute()[0].item(), rel=1e-3)


def test_a_face_of_twice_the_weight_counts_as_two_that_are_not_each_others_pair() -> None:
    drawn = torch.Generator().manual_seed(0)
    real, made = (torch.randn(60, 8, generator=drawn) for _ in range(2))
    without = torch.ones(2, 60)
    without[1, 30:] = 0
    weighted = RealFaces(real, torch.ones(60)).distance(made, without)
    assert weighted[0].item() == pytest.approx(distance(real, made))
    assert weighted[1].item() == pytest.approx(distance(real, made[:30]))
    assert RealFaces(real, without[1]).distance(made, without).tolist() == pytest.approx(
        [distance(real[:30], made), distance(real[:30], made[:30])]
    )


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
    figures = realism_figures(edits, train, People(faces.people))
    kid = figures["Smiling"]["kid"]
    for direction in ("on", "off"):
        assert kid[direction]["mean"] < kid[f"untouched_{direction}"]["mean"] / 2
        assert kid[direction]["low"] <= kid[direction]["mean"] <= kid[direction]["high"]
    smiling = int(faces.labels[:, 0].sum())
    assert 10 < kid["on"]["n"] == kid["untouched_on"]["n"] <= 40 - smiling
    assert 10 < kid["reconstruction_on"]["n"] <= smiling
    assert "reconstruction_on" not in figures["Beard"]["kid"]  # too few have one
