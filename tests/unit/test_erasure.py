"""What labels leave in fitted latents is measured on training faces, and taken from any photo's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_run import ATTRIBUTES, SIZE
from torch import Tensor

from fader_demo.attributes import AttributeSchema
from fader_demo.model import Fader
from train.data import PreparedFaces, invert
from train.erasure import erase_fitted


@pytest.fixture
def faces(prepared: Path) -> PreparedFaces:
    schema = AttributeSchema.from_config(ATTRIBUTES)
    return PreparedFaces(prepared, "train", schema, {"Beard": "not No_Beard"})


@pytest.fixture
def fader() -> Fader:
    """Untrained: labels light halves of the pictures, which it finds nowhere but in the latent."""
    torch.manual_seed(0)
    return Fader(ATTRIBUTES, image_size=SIZE, width=8, max_width=16, depth=3).eval()


def _of_labels(latents: Tensor, faces: PreparedFaces) -> float:
    """The latents' largest covariance with a label, beside their spread."""
    latents, labels = latents.flatten(1), faces.labels
    centred = latents - latents.mean(0)
    covariance = centred.T @ (labels - labels.mean(0)) / len(labels)
    return (covariance.abs().max() / centred.std()).item()


def test_nothing_linear_in_the_labels_stays_in_fitted_latents(
    fader: Fader, faces: PreparedFaces
) -> None:
    before = _of_labels(invert(fader, faces), faces)
    erase_fitted(fader, faces)
    assert before > 0.2
    assert _of_labels(invert(fader, faces), faces) < 0.02


def test_measuring_again_does_not_add_up(fader: Fader, faces: PreparedFaces) -> None:
    erase_fitted(fader, faces)
    once = {name: tensor.clone() for name, tensor in fader.state_dict().items()}
    erase_fitted(fader, faces)
    assert all(torch.equal(once[name], again) for name, again in fader.state_dict().items())


def test_the_encoders_latents_and_all_else_stay(fader: Fader, faces: PreparedFaces) -> None:
    batch = faces.batch(torch.arange(8))
    before = {name: tensor.clone() for name, tensor in fader.state_dict().items()}
    latent = fader.encode(batch.images, batch.values)
    erase_fitted(fader, faces)
    assert torch.equal(fader.encode(batch.images, batch.values), latent)
    after = fader.state_dict()
    changed = [name for name in after if not torch.equal(before[name], after[name])]
    assert changed and all(name.startswith("fitted_erasure.") for name in changed)
