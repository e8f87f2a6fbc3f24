"""A latent fitted to its photo rebuilds it better, and never worse than the encoder's."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from fader_demo.inversion import invert
from fader_demo.model import Fader


@pytest.fixture(scope="module")
def fader() -> Fader:
    torch.manual_seed(0)
    attributes = [{"name": "Smiling"}, {"name": "Glasses"}]
    return Fader(attributes, image_size=32, width=8, max_width=16, depth=3).eval()


@pytest.fixture(scope="module")
def values() -> Tensor:
    return torch.rand(6, 2)


@pytest.fixture(scope="module")
def photos(fader: Fader, values: Tensor) -> Tensor:
    """Such as the decoder can draw, but whose latents its encoder, untrained, does not find."""
    with torch.no_grad():
        return fader.decode(torch.randn(6, *fader.latent_shape), values)


def _error(fader: Fader, photos: Tensor, values: Tensor, latent: Tensor) -> Tensor:
    with torch.no_grad():
        return (fader.decode(latent, values) - photos).square().mean((1, 2, 3))


def test_every_photo_is_rebuilt_better_than_by_the_encoder_alone(
    fader: Fader, photos: Tensor, values: Tensor
) -> None:
    fitted = _error(fader, photos, values, invert(fader, photos, values))
    encoded = _error(fader, photos, values, fader.encode(photos, values))
    assert (fitted < 0.9 * encoded).all()


def test_a_latent_that_cannot_be_bettered_stays(fader: Fader, values: Tensor) -> None:
    latent = torch.randn(6, *fader.latent_shape)
    with torch.no_grad():
        photos = fader.decode(latent, values)
    with patch.object(fader, "encode", lambda *_: latent):
        assert torch.equal(invert(fader, photos, values), latent)


def test_photos_do_not_mix(fader: Fader, photos: Tensor, values: Tensor) -> None:
    together = invert(fader, photos, values)
    alone = [invert(fader, photos[i : i + 1], values[i : i + 1]) for i in range(len(photos))]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=1e-4)


def test_it_needs_no_gradients_about_it_and_leaves_none(
    fader: Fader, photos: Tensor, values: Tensor
) -> None:
    plain = invert(fader, photos, values)
    with torch.inference_mode():
        within = invert(fader, photos.clone(), values.clone())
    assert torch.equal(plain, within)
    assert not plain.requires_grad and not within.requires_grad
    assert all(parameter.grad is None for parameter in fader.parameters())
