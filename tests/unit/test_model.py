"""The Fader: the paper's arithmetic, its shapes, and that it is saved and loaded whole."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import nn

from fader_demo.model import (
    ConditionedUpsample,
    Fader,
    LinearErasure,
    Residual,
    block_widths,
    smooth,
)

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
        latent = fader.encoder(torch.rand(16, 3, 64, 64) * scale + 0.5)
        torch.testing.assert_close(latent.mean((0, 2, 3)), torch.zeros(32), rtol=0, atol=1e-4)
        torch.testing.assert_close(latent.std((0, 2, 3)), torch.ones(32), rtol=0, atol=0.1)


def test_noise_reaches_the_decoder(fader: Fader) -> None:
    image, values = torch.rand(1, 3, 64, 64), torch.zeros(1, 2)
    with torch.inference_mode():
        clean, noisy = fader(image, values)[0], fader(image, values, noise=0.5)[0]
    assert 0.3 < (noisy - clean).std() < 0.7


def test_edits_ask_the_decoder_and_not_the_encoder() -> None:
    # In evaluation: while training the two meet in the statistics of a batch.
    fader = Fader(ATTRIBUTES, image_size=64, width=8, max_width=32, depth=4).eval()
    image, values = torch.rand(4, 3, 64, 64), torch.zeros(4, 2)
    _, rebuilt, edited = fader(image, values, values + 1)
    edited.sum().backward(retain_graph=True)
    assert not any(weight.grad.any() for weight in fader.encoder.parameters())
    assert all(weight.grad.any() for weight in fader.decoder.parameters())
    rebuilt.sum().backward()
    assert any(weight.grad.any() for weight in fader.encoder.parameters())


def test_residuals_begin_as_nothing_and_are_in_the_encoder_alone() -> None:
    torch.manual_seed(0)
    shape = {"image_size": 64, "width": 8, "max_width": 32, "depth": 4}
    plain, deeper = Fader(ATTRIBUTES, **shape), Fader(ATTRIBUTES, **shape, encoder_residuals=2)
    added = deeper.load_state_dict(plain.state_dict(), strict=False)
    assert not added.unexpected_keys
    assert {name.split(".")[2] for name in added.missing_keys} == {"1", "2"}, "not first, not last"
    residuals = [module for module in deeper.encoder.modules() if isinstance(module, Residual)]
    assert len(residuals) == 4
    image = torch.rand(2, 3, 64, 64)
    assert torch.equal(deeper.eval().encoder(image), plain.eval().encoder(image))
    residuals[0].layers[-1].weight.data.fill_(1)
    assert not torch.equal(deeper.encoder(image), plain.encoder(image))


def test_the_papers_model() -> None:
    fader = Fader(ATTRIBUTES[:1], image_size=256, width=32, max_width=512, depth=6).eval()
    with torch.inference_mode():
        assert fader.encoder(torch.empty(1, 3, 256, 256)).shape == (1, 512, 4, 4)
        assert fader(torch.empty(1, 3, 256, 256), torch.empty(1, 1))[1].shape == (1, 3, 256, 256)
    assert block_widths(32, 512, 6) == [32, 64, 128, 256, 512, 512]
    assert fader.latent_shape == (512, 4, 4)
    # Every decoder layer hears the code: two more inputs than the encoder's mirror has outputs.
    layers = [m for m in fader.decoder.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [layer.in_channels for layer in layers] == [514, 514, 258, 130, 66, 34]


def test_no_grid_of_two_pixels_gets_through_to_a_picture(fader: Fader) -> None:
    x = torch.arange(16.0)
    rows, columns = torch.meshgrid(x, x, indexing="ij")
    for grid in ((-1) ** rows, (-1) ** columns, (-1) ** (rows + columns)):
        assert smooth(grid.expand(1, 3, -1, -1))[..., 1:-1, 1:-1].abs().max() < 1e-6
    plane = (rows + 2 * columns).expand(1, 3, -1, -1)
    torch.testing.assert_close(smooth(plane)[..., 1:-1, 1:-1], plane[..., 1:-1, 1:-1])

    def of_period_two(image: torch.Tensor) -> torch.Tensor:
        image = image[..., 2:-2]
        return (image[..., ::2] - image[..., 1::2]).mean(-1).abs().mean()

    decoder = deepcopy(fader.decoder)
    with torch.inference_mode():
        decoder.upsamples[-1].conv.weight[..., ::2] += 0.3  # every other column is brighter
        unsmoothed = decoder.upsamples[-1](torch.ones(1, 8, 32, 32), torch.ones(1, 4))
        assert of_period_two(unsmoothed) > 1
        assert of_period_two(smooth(unsmoothed)) < 0.01
        drawn = decoder(torch.randn(2, *fader.latent_shape), torch.rand(2, 4))
        assert of_period_two(drawn) < 0.02


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


def code_of(values: torch.Tensor) -> torch.Tensor:
    """Values (N, attributes) -> (N, 2 * attributes), collinear, as binary attributes' codes are."""
    return torch.cat([1 - values, values], dim=1)


def test_nothing_linear_in_the_values_stays_in_the_latent() -> None:
    torch.manual_seed(0)
    erasure = LinearErasure(latent_size=12, code_size=4).train()
    mixing = torch.randn(4, 12)
    latents, codes = [], []
    for _ in range(300):
        u = torch.rand(64, 2) ** 2
        code = code_of(u)
        latent = code @ mixing + torch.randn(64, 12)
        latents.append(erasure(latent.view(64, 3, 2, 2), code).flatten(1))
        codes.append(u)
    late, u = torch.cat(latents[100:]), torch.cat(codes[100:])
    correlation = torch.corrcoef(torch.cat([late, u], 1).T)[:12, 12:]
    assert correlation.abs().max() < 0.05
    assert late.std(0).min() > 0.9, "what does not depend on the code stays"


def test_nothing_that_goes_with_the_labels_stays_though_the_values_err() -> None:
    torch.manual_seed(0)
    erasure = LinearErasure(latent_size=12, code_size=4)
    label = (torch.rand(20_000, 2) < torch.tensor([0.1, 0.4])).float()
    values = (0.8 * label + 0.1 + 0.15 * torch.randn(20_000, 2)).clamp(0, 1)
    label, code = code_of(label), code_of(values)
    latent = (label @ torch.randn(4, 12) + torch.randn(20_000, 12)).view(-1, 3, 2, 2)
    erasure.train()(latent, code, label)
    erased = erasure.eval()(latent, code).flatten(1)
    of_labels = torch.corrcoef(torch.cat([erased, label], 1).T)[:12, 12:]
    assert of_labels.abs().max() < 0.02


@pytest.mark.parametrize("told", [0.0, -1e-3])
def test_values_that_say_nothing_of_the_labels_take_nothing_away(told: float) -> None:
    torch.manual_seed(0)
    erasure = LinearErasure(latent_size=12, code_size=2)
    label = (torch.rand(5_000, 1) < 0.5).float()
    values = 0.5 + told * label
    label, code = code_of(label), code_of(values)
    latent = (label @ torch.randn(2, 12) + torch.randn(5_000, 12)).view(-1, 3, 2, 2)
    erased = erasure.train()(latent, code, label)
    torch.testing.assert_close(erased, latent, atol=0.01, rtol=0)


def test_erasure_does_not_change_in_use() -> None:
    torch.manual_seed(0)
    erasure = LinearErasure(latent_size=4, code_size=2)
    code = torch.rand(32, 2)
    latent = (3 * code).repeat(1, 2).view(32, 1, 2, 2)
    erasure.train()(latent, code)
    before = {name: tensor.clone() for name, tensor in erasure.state_dict().items()}
    erasure.eval()(latent + 5, code)
    assert all(torch.equal(before[name], now) for name, now in erasure.state_dict().items())


def test_erasure_gathered_over_a_data_set_is_exact_on_it() -> None:
    torch.manual_seed(0)
    erasure = LinearErasure(latent_size=40, code_size=2).eval()
    u = torch.rand(300, 1)
    code = code_of(u)
    latent = (code @ torch.randn(2, 40) + torch.randn(300, 40)).view(300, 10, 2, 2)
    for number, part in enumerate(torch.arange(300).split(50), start=1):
        erasure.gather(latent[part], code[part], code[part], 1 / number)
    erased = erasure(latent, code).flatten(1)
    assert torch.corrcoef(torch.cat([erased, u], 1).T)[:40, 40].abs().max() < 0.01


def test_one_pass_decodes_the_same_face_at_several_values(fader: Fader) -> None:
    image, values = torch.rand(2, 3, 64, 64), torch.tensor([[0.0, 40.0], [2.0, 90.0]])
    with torch.inference_mode():
        latent, rebuilt, other = fader(image, values, values.flip(0))
        torch.testing.assert_close(rebuilt, fader.decode(latent, values))
        torch.testing.assert_close(other, fader.decode(latent, values.flip(0)))
