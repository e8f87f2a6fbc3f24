"""The folded decoder draws what the plain one draws, and its work does not grow with attributes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from fader_demo.decoding import FoldedDecoder
from fader_demo.model import Fader

ALL_KINDS: list[dict[str, Any]] = [
    {"name": "Smiling"},
    {"name": "Age", "kind": "continuous", "range": [20, 70], "slider": [0, 90], "default": 40},
    {"name": "Hair", "kind": "categorical", "choices": ["black", "blond", "brown"]},
    {"name": "Glasses"},
]


def _trained(attributes: list[dict[str, Any]], seed: int = 0, **sizes: int) -> Fader:
    """A Fader in eval mode in which no norm, bias or placement is what it starts as."""
    torch.manual_seed(seed)
    fader = Fader(
        attributes, **{"image_size": 64, "width": 8, "max_width": 32, "depth": 4, **sizes}
    )
    with torch.no_grad():
        for module in fader.decoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_()
                module.running_var.uniform_(0.3, 3)
                module.weight.normal_(1, 0.5)
                module.bias.normal_()
        for upsample in fader.decoder.upsamples:
            upsample.conv.weight.mul_(4)
    return fader.eval()


def _values(count: int) -> torch.Tensor:
    """Sets of values of ALL_KINDS, within the labels and far beyond."""
    return torch.stack(
        [
            torch.rand(count) * 6 - 3,
            torch.rand(count) * 150 - 30,
            torch.randint(3, (count,)).float(),
            torch.rand(count),
        ],
        dim=1,
    )


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"depth": 1, "image_size": 8},
        {"depth": 2, "image_size": 24, "latent_channels": 5},
        {"depth": 5, "image_size": 64},
        {"image_size": 96, "latent_channels": 7},
    ],
)
def test_it_draws_what_the_plain_decoder_draws(
    sizes: dict[str, int], count: int, seed: int
) -> None:
    fader = _trained(ALL_KINDS, seed, **sizes)
    latent, values = torch.randn(fader.latent_shape), _values(count)
    folded = FoldedDecoder(fader)
    with torch.inference_mode():
        expected = fader.decode(latent.expand(count, -1, -1, -1), values)
    assert expected.abs().median() > 0.1
    assert (expected.abs() < 0.95).float().mean() > 0.05, "tanh would hide what differs"
    drawn = folded.decode(folded.prepare(latent), values)
    torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-4)


def test_different_faces_are_drawn_in_one_pass_as_alone() -> None:
    folded = FoldedDecoder(_trained(ALL_KINDS))
    prepared = torch.stack([folded.prepare(torch.randn(32, 4, 4)) for _ in range(3)])
    values = _values(3)
    together = folded.decode(prepared, values)
    for index in range(3):
        alone = folded.decode(prepared[index], values[index : index + 1])
        torch.testing.assert_close(together[index : index + 1], alone, rtol=0, atol=1e-5)


def test_a_prepared_latent_serves_any_number_of_moves() -> None:
    folded = FoldedDecoder(_trained(ALL_KINDS))
    prepared, values = folded.prepare(torch.randn(32, 4, 4)), _values(2)
    first = folded.decode(prepared, values)
    folded.decode(prepared, _values(3))
    assert torch.equal(folded.decode(prepared, values), first)


def test_it_keeps_its_weights_when_the_model_is_trained_further() -> None:
    fader = _trained(ALL_KINDS)
    folded, latent, values = FoldedDecoder(fader), torch.randn(fader.latent_shape), _values(1)
    before = folded.decode(folded.prepare(latent), values)
    with torch.no_grad():
        for tensor in fader.decoder.state_dict().values():
            tensor.zero_()
    assert torch.equal(folded.decode(folded.prepare(latent), values), before)


def test_the_work_does_not_grow_with_the_attributes() -> None:
    def work(attributes: int) -> int:
        folded = FoldedDecoder(_trained([{"name": f"{i}"} for i in range(attributes)], width=32))
        prepared = folded.prepare(torch.randn(32, 4, 4))
        with FlopCounterMode(display=False) as counter:
            folded.decode(prepared, torch.zeros(1, attributes))
        return counter.get_total_flops()

    assert work(40) < 1.05 * work(2)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_it_works_on_the_models_device() -> None:
    fader = _trained(ALL_KINDS).cuda()
    folded, latent, values = FoldedDecoder(fader), torch.randn(fader.latent_shape), _values(3)
    with torch.backends.cudnn.flags(allow_tf32=False):
        drawn = folded.decode(folded.prepare(latent.cuda()), values.cuda())
        expected = fader.decode(latent.cuda().expand(3, -1, -1, -1), values.cuda())
    torch.testing.assert_close(drawn, expected, rtol=0, atol=1e-3)
