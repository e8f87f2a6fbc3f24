"""The decoder as a slider needs it: what no slider changes is computed ahead."""

from __future__ import annotations

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from fader_demo.model import Fader, smooth


class FoldedDecoder:
    """A Fader's decoder for inference: what ``Fader.decode`` draws, for less work.

    Batch normalisation is folded into the transposed convolutions. A layer is linear up to its
    activation, so each number of the code adds a fixed map to it. One matrix holds the maps of
    all layers, and the convolutions see the features alone, however many attributes there are.
    What the latent adds to the first layer is computed once a photo. The other layers run as
    sub-pixel convolutions (Shi et al. 2016, arXiv 1609.07009): the same sums in another order,
    which CPUs are quicker at, most of all where there are three outputs.

    The Fader must be in eval mode. Its weights are copied: training it further changes nothing
    here.
    """

    @torch.no_grad()
    def __init__(self, fader: Fader) -> None:
        layers = list(fader.decoder.modules())
        *upsamples, last = [layer for layer in layers if isinstance(layer, nn.ConvTranspose2d)]
        norms = [layer for layer in layers if isinstance(layer, nn.BatchNorm2d)]
        pairs = zip(upsamples, norms, strict=True)
        first, *others = [
            *(fuse_conv_bn_eval(*pair, transpose=True) for pair in pairs),
            deepcopy(last),
        ]
        size, (channels, side, _) = fader.schema.code_size, fader.latent_shape
        placement = fader.decoder.placement
        planes = torch.eye(size, device=placement.weight.device)[:, :, None, None]

        self._schema = fader.schema
        self._placement_bias = placement.bias.view(fader.latent_shape).clone()
        self._first_weight, self._first_bias = first.weight[:channels], first.bias
        places = placement.weight.T.reshape(size, *fader.latent_shape)
        code_alone = torch.cat([places, planes.expand(-1, -1, side, side)], dim=1)
        maps = [F.conv_transpose2d(code_alone, first.weight, stride=2, padding=1)]

        self._weights, self._biases = [], []
        for conv in others:
            assert conv.bias is not None  # from its norm; the last has its own
            weight, of_code = _sub_pixel(conv.weight).split([conv.in_channels - size, size], dim=1)
            self._weights.append(weight.contiguous(memory_format=torch.channels_last))
            self._biases.append(conv.bias.repeat_interleave(4))
            maps.append(_response(F.conv2d(planes.expand(-1, -1, 2, 2), of_code, padding=1)))
        self._maps = torch.cat([each.flatten(1) for each in maps], dim=1)
        self._sizes = [each[0].numel() for each in maps]

    @torch.inference_mode()
    def prepare(self, latent: Tensor) -> Tensor:
        """Latent (C, h, w) -> its part of the first layer (C', 2h, 2w), for ``decode``."""
        placed = (latent + self._placement_bias)[None]
        return F.conv_transpose2d(placed, self._first_weight, self._first_bias, 2, 1)[0]

    @torch.inference_mode()
    def decode(self, prepared: Tensor, values: Tensor) -> Tensor:
        """Prepared latents, values (N, attributes) -> images (N, 3, S, S) in [-1, 1].

        prepared: (C', 2h, 2w) for one face at N sets of values, or (N, C', 2h, 2w) for N faces.
        """
        first, *others = (self._schema.encode(values) @ self._maps).split(self._sizes, dim=1)
        x = prepared + first.view(-1, *prepared.shape[-3:])
        for weight, bias, from_code in zip(self._weights, self._biases, others, strict=True):
            x = F.conv2d(x.relu(), weight, bias, padding=1)
            _add_response(x, from_code.view(len(x), -1, 3, 3))
            x = F.pixel_shuffle(x, 2)[:, :, 1:-1, 1:-1]
        return smooth(x).tanh().contiguous()


def _sub_pixel(weight: Tensor) -> Tensor:
    """Weights (C, C', 4, 4) of a transposed convolution -> those of the sub-pixel one.

    (4C', C, 2, 2), for a border of 1: every 2x2 window gives the 2x2 outputs about its centre.
    """
    taps = [[2, 0], [3, 1]]  # of the output before the centre, and of the one behind it
    phases = weight[:, :, taps][:, :, :, :, taps]  # (C, C', 2, 2, 2, 2): y, its taps, x, its taps
    return phases.permute(1, 2, 4, 0, 3, 5).reshape(-1, len(weight), 2, 2)


def _response(planes: Tensor) -> Tensor:
    """What a constant plane adds to a layer (N, C, 3, 3), for ``_add_response``.

    Of such a response only the rows and columns at the edges differ from the centre: those two
    become how far they do, the corners how far beyond their row's and their column's.
    """
    differences = planes - planes[:, :, 1:2, 1:2]
    rows, columns = differences[:, :, :, 1:2].clone(), differences[:, :, 1:2, :].clone()
    differences[:, :, ::2, ::2] -= rows[:, :, ::2] + columns[:, :, :, ::2]
    differences[:, :, 1, 1] = planes[:, :, 1, 1]
    return differences


def _add_response(x: Tensor, response: Tensor) -> None:
    """Adds a response (N, C, 3, 3) to features (N, C, side, side) in their place."""
    x += response[:, :, 1:2, 1:2]
    for edge, of_three in ((0, 0), (-1, 2)):
        x[:, :, edge] += response[:, :, of_three, 1:2]
        x[:, :, :, edge] += response[:, :, 1:2, of_three]
    last = x.shape[-1] - 1
    x[:, :, ::last, ::last] += response[:, :, ::2, ::2]
