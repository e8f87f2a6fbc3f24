"""Gains: how far the decoder goes, so that faces moved to a label look it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from small_run import write_prepared
from torch import Tensor, nn

from fader_demo.attributes import AttributeSchema
from fader_demo.estimator import AttributeEstimator
from fader_demo.model import Fader, LinearErasure
from train.calibration import calibrated
from train.data import PreparedFaces

SCHEMA = AttributeSchema.from_config([{"name": "Bright", "slider": [-1, 2.5]}])
SIDE = 64


class Lamp(nn.Module):
    """A fader of flat grey pictures: moved by 1, it makes them lighter by ``strength``."""

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.schema = SCHEMA
        self.fitted_erasure = LinearErasure(1, SCHEMA.code_size).eval()  # takes nothing
        self.strength = nn.Parameter(torch.tensor(strength))

    def encode(self, image: Tensor, values: Tensor) -> Tensor:
        return image.mean((1, 2, 3), keepdim=True) - self.light(values)

    def decode(self, latent: Tensor, values: Tensor) -> Tensor:
        return (latent + self.light(values)).expand(-1, 3, SIDE, SIDE)

    def light(self, values: Tensor) -> Tensor:
        return self.strength * values[:, :, None, None]


class Meter(nn.Module):
    """An estimator of lightness: -0.5 reads 0, 0.5 reads 1."""

    def __init__(self) -> None:
        super().__init__()
        self.schema = SCHEMA
        self.anchors = torch.tensor([[-0.5, 0.5]])

    def forward(self, image: Tensor) -> Tensor:
        return image.mean((1, 2, 3))[:, None]


@pytest.fixture
def faces(tmp_path: Path) -> PreparedFaces:
    """Dark and light pictures, labelled so."""
    levels = np.array([64, 191] * 5, dtype=np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (10, SIDE, SIDE, 3))
    rows = [(f"{i}.jpg", "validation", str(i % 2)) for i in range(10)]
    write_prepared(tmp_path, images, ("id", "split", "Bright"), rows)
    return PreparedFaces(tmp_path, "validation", SCHEMA)


@pytest.mark.parametrize(
    ("strength", "gain", "slider"),
    [
        (1.0, (1.0, 1.0), (-0.5, 1.5)),
        (0.8, (1.25, 1.25), (-0.6, 1.6)),
        (0.5, (2.0, 2.0), (0.0, 1.25)),
        (0.25, (2.0, 2.5), (0.0, 1.0)),
        (9.0, (0.75, 0.75), (0.0, 1.0)),
    ],
    ids=["right", "a bit weak", "half", "too weak for its slider", "much too strong"],
)
def test_a_weak_decoder_goes_farther_until_the_label_is_read(
    faces: PreparedFaces, strength: float, gain: tuple[float, float], slider: tuple[float, float]
) -> None:
    """And a slider ends where pictures are black or white, or where the decoder's end is."""
    fader, meter = cast(Fader, Lamp(strength)), cast(AttributeEstimator, Meter())
    (attribute,) = calibrated(fader, meter, faces)
    assert attribute.gain == pytest.approx(gain, abs=0.02)
    assert attribute.slider == pytest.approx(slider, abs=0.02)


class BentLamp(Lamp):
    """One that is slow to start: its light is the square of what it is told."""

    def light(self, values: Tensor) -> Tensor:
        return super().light(values.square() * values.sign())


def test_a_slider_half_way_reads_half_where_looks_do_not_keep_pace(faces: PreparedFaces) -> None:
    fader, meter = BentLamp(1.0), cast(AttributeEstimator, Meter())
    (attribute,) = calibrated(cast(Fader, fader), meter, faces)
    assert attribute.gain == pytest.approx((1.0, 1.0), abs=0.02)
    assert attribute.onset == pytest.approx((0, 0.1**0.5 - 0.1), abs=0.05)
    assert attribute.halfway == pytest.approx((0.3, 0.62), abs=0.03)
    schema = AttributeSchema([attribute])
    dark, light = torch.zeros(1, 1), torch.ones(1, 1)
    for start in (dark, light):
        lit = fader.light(schema.amplify(start, (dark + light) / 2))
        assert lit.item() == pytest.approx(0.5, abs=0.05)


def test_a_lamp_that_keeps_pace_has_a_straight_way(faces: PreparedFaces) -> None:
    (attribute,) = calibrated(cast(Fader, Lamp(0.8)), cast(AttributeEstimator, Meter()), faces)
    assert attribute.halfway == pytest.approx((0.5, 0.5), abs=0.02)
    assert attribute.onset == pytest.approx((0, 0), abs=0.02)


def test_without_a_face_to_move_a_gain_stays_one(faces: PreparedFaces) -> None:
    faces.labels = torch.ones_like(faces.labels)
    (attribute,) = calibrated(cast(Fader, Lamp(0.5)), cast(AttributeEstimator, Meter()), faces)
    assert attribute.gain == pytest.approx((2.0, 1.0), abs=0.02)
