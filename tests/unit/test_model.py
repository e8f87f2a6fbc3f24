"""The Fader: the paper's arithmetic, its shapes, and that it is saved and loaded whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import nn

from fader_demo.model import ConditionedUpsample, Fader, block_widths

ATTRIBUTES: list[dict[str, Any]] = [
    {"name": "Smiling"},
    {"name": "Age", "kind": "continuous", "range": [20, 70], "slider": [0, 90], "default": 40},
]


@pytest.fixture(scope="module")
def fader() -> Fader:
    torch.manual_seed(0)
    return Fader(ATTRIBUTES, image_size=64, width=8, max_width=32, depth=4).eval()


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_conditioning_equals_the_papers_concatenated_planes(size: int, bias: bool) -> None:
    torch.manual_seed(size)
    layer = ConditionedUpsample(5, 4, 6, bias)
    x, code = torch.randn(3, 5, size, size), torch.randn(3, 4)
    planes = code[:, :, None, None].expand(-1, -1, size, size)
    expected = layer.conv(torch.cat([x, planes], dim=1))
    torch.testing.assert_close(layer(x, code), expected, rtol=0, atol=1e-5)


def test_an_image_becomes_a_latent_and_a_latent_an_image(fader: Fader) -> None:
    image, values = torch.rand(2, 3, 64, 64) * 2 - 1, torch.tensor([[0.0, 40.0], [2.0, 90.0]])
    with torch.inference_mode():
        latent, decoded = fader(image, values)
    assert latent.shape == (2, *fader.latent_shape) == (2, 32, 4, 4)
    assert decoded.shape == image.shape
    assert decoded.abs().max() <= 1


def test_the_latent_cannot_escape_by_shrinking_or_shifting() -> None:
    fader = Fader(ATTRIBUTES, image_size=64, width=8, max_width=32, depth=4)
    for scale in (0.01, 1.0):
        latent = fader.encode(torch.rand(16, 3, 64, 64) * scale + 0.5)
        torch.testing.assert_close(latent.mean((0, 2, 3)), torch.zeros(32), rtol=0, atol=1e-4)
        torch.testing.assert_close(latent.std((0, 2, 3)), torch.ones(32), rtol=0, atol=0.1)


def test_noise_reaches_the_decoder(fader: Fader) -> None:
    image, values = torch.rand(1, 3, 64, 64), torch.zeros(1, 2)
    with torch.inference_mode():
        clean, noisy = fader(image, values)[0], fader(image, values, noise=0.5)[0]
    assert 0.3 < (noisy - clean).std() < 0.7


def test_the_papers_model() -> None:
    with torch.device("meta"):
        fader = Fader(ATTRIBUTES[:1], image_size=256, width=32, max_width=512, depth=6)
        assert fader.encode(torch.empty(1, 3, 256, 256)).shape == (1, 512, 4, 4)
        assert fader(torch.empty(1, 3, 256, 256), torch.empty(1, 1))[1].shape == (1, 3, 256, 256)
    assert block_widths(32, 512, 6) == [32, 64, 128, 256, 512, 512]
    assert fader.latent_shape == (512, 4, 4)
    # Every decoder layer hears the code: two more inputs than the encoder's mirror has outputs.
    layers = [m for m in fader.decoder.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [layer.in_channels for layer in layers] == [514, 514, 258, 130, 66, 34]


@pytest.mark.parametrize("image_size", [16, 72, 100])
def test_a_size_that_does_not_halve_is_refused(image_size: int) -> None:
    with pytest.raises(ValueError, match="multiple of"):
        Fader(ATTRIBUTES, image_size=image_size, width=8, depth=4)


def test_saving_and_loading_gives_the_same_pictures(fader: Fader, tmp_path: Path) -> None:
    fader.save_pretrained(tmp_path)
    again = Fader.from_pretrained(str(tmp_path), strict=True)
    image, values = torch.rand(1, 3, 64, 64), torch.tensor([[1.5, 20.0]])
    with torch.inference_mode():
        torch.testing.assert_close(again(image, values), fader(image, values), rtol=0, atol=0)
    assert again.schema == fader.schema
    assert again.image_size == 64
    assert not again.training


def test_weights_are_safetensors_and_nothing_else(fader: Fader, tmp_path: Path) -> None:
    fader.save_pretrained(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"config.json", "model.safetensors", "README.md"}
    with safe_open(tmp_path / "model.safetensors", framework="pt") as weights:
        assert set(weights.keys()) == set(fader.state_dict())
