"""First weights from a trained model: whatever of it fits a new one is taken over.

The new model may have other attributes and another depth. Attributes are matched by name, blocks
from the picture inwards, since what a block does depends on how far from the picture it is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fader_demo.attributes import AttributeSchema
from fader_demo.estimator import AttributeEstimator
from fader_demo.model import ConditionedUpsample, Fader


@torch.no_grad()
def start_fader(fader: Fader, trained: Fader) -> None:
    """Takes over encoder and decoder where they fit; what is erased is measured anew."""
    for block, other in zip(fader.encoder.blocks, trained.encoder.blocks, strict=False):
        _take_all(block, other)
    codes = [_columns(each.schema, "code_size") for each in (fader, trained)]
    for layer, of in zip(_layers(fader), _layers(trained), strict=False):
        weight, inputs = layer.conv.weight, layer.in_channels
        if _take(weight[:inputs], of.conv.weight[: of.in_channels]):
            _take_shared(weight[inputs:], of.conv.weight[of.in_channels :], *codes)
        if layer.conv.bias is not None and of.conv.bias is not None:
            _take(layer.conv.bias, of.conv.bias)
    norms = [list(each.decoder.norms)[::-1] for each in (fader, trained)]
    for norm, other_norm in zip(*norms, strict=False):
        _take_all(norm, other_norm)
    if fader.latent_shape == trained.latent_shape:
        placement, other_placement = fader.decoder.placement, trained.decoder.placement
        _take(placement.bias, other_placement.bias)
        _take_shared(placement.weight.T, other_placement.weight.T, *codes)


@torch.no_grad()
def start_estimator(estimator: AttributeEstimator, trained: AttributeEstimator) -> None:
    """Takes over what sees, where it fits, and what says for the attributes that both have."""
    for part in ("blocks", "place"):
        _take_all(getattr(estimator, part), getattr(trained, part))
    rows = [_columns(each.schema, "prediction_size") for each in (estimator, trained)]
    _take_shared(estimator.head.weight, trained.head.weight, *rows)
    _take_shared(estimator.head.bias, trained.head.bias, *rows)


def _layers(fader: Fader) -> list[ConditionedUpsample]:
    """The decoder's, from the picture inwards."""
    return [layer for layer in fader.decoder.upsamples if isinstance(layer, ConditionedUpsample)][
        ::-1
    ]


def _take_all(module: nn.Module, trained: nn.Module) -> None:
    of = trained.state_dict()
    for name, tensor in module.state_dict().items():
        if name in of:
            _take(tensor, of[name])


def _take(tensor: Tensor, of: Tensor) -> bool:
    """Copies, if shapes are equal; whether they are."""
    if tensor.shape == of.shape:
        tensor.copy_(of)
        return True
    return False


def _take_shared(
    tensor: Tensor, of: Tensor, columns: dict[str, slice], other_columns: dict[str, slice]
) -> None:
    """Copies the rows of attributes that both schemas have, of one name and size."""
    for name in columns.keys() & other_columns.keys():
        _take(tensor[columns[name]], of[other_columns[name]])


def _columns(schema: AttributeSchema, size: str) -> dict[str, slice]:
    """Where each attribute's numbers are in a code, or in a prediction."""
    ends = torch.tensor([getattr(attribute, size) for attribute in schema]).cumsum(0).tolist()
    return {
        attribute.name: slice(end - getattr(attribute, size), end)
        for attribute, end in zip(schema, ends, strict=True)
    }
