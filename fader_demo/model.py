"""The Fader Network (Lample et al. 2017, arXiv 1706.00409): encoder, decoder, and the pair."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from fader_demo.attributes import AttributeSchema


def block_widths(width: int, max_width: int, depth: int) -> list[int]:
    """Channels after each of the ``depth`` halvings: doubling from ``width`` up to a cap."""
    return [min(width * 2**level, max_width) for level in range(depth)]


class Residual(nn.Module):
    """(N, C, h, w) -> the same shape: two convolutions 3x3 whose result is added to their input.

    As in He et al. 2015 (arXiv 1512.03385); it begins as nothing, so that it can be put into a
    network that is trained already.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        last = nn.BatchNorm2d(width)
        nn.init.zeros_(last.weight)
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, width, 3, 1, 1, bias=False),
            last,
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Encoder(nn.Module):
    """Image (N, 3, S, S) in [-1, 1] -> latent (N, C, S / 2**depth, S / 2**depth).

    Convolutions 4x4 of stride 2, batch normalisation on all but the first, LeakyReLU 0.2
    (paper, section 3.3). The latent is normalised per channel and not rectified, so the encoder
    cannot get past the discriminator by shrinking or shifting it.

    residuals: after every block but the first and the last (the paper has none). A photo is encoded
    once, so that they cost a slider nothing.
    """

    def __init__(self, widths: Sequence[int], residuals: int = 0) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        channels = 3
        for level, width in enumerate(widths):
            first, last = level == 0, level == len(widths) - 1
            layers: list[nn.Module] = [nn.Conv2d(channels, width, 4, 2, 1, bias=first)]
            if not first or last:
                layers.append(nn.BatchNorm2d(width, affine=not last))
            if not last:
                layers.append(nn.LeakyReLU(0.2))
            if not first and not last:
                layers.extend(Residual(width) for _ in range(residuals))
            blocks.append(nn.Sequential(*layers))
            channels = width
        self.blocks = nn.Sequential(*blocks)

    def forward(self, image: Tensor) -> Tensor:
        return self.blocks(image)


class LinearErasure(nn.Module):
    """Latent (N, C, h, w), code (N, code_size) -> the latent less what is linear in the code.

    What remains does not covary with the labels, so no linear probe finds them in it (the oracle
    case of LEACE, arXiv 2306.03819). The decoder has to take them from the code, from the first
    step on; what is not linear is left to the discriminator.

    The code is that of estimated values, of a training face as of an upload, and a slope fitted to
    estimates, which err, by least squares is too small. So the labels are instrumental variables
    (two-stage least squares, Theil 1953): the slope is fitted to what they predict of the code.

    The moments are running averages, gathered in training mode; they start as plain means.
    """

    MOMENTUM = 0.01
    RIDGE = 1e-3

    seen: Tensor
    latent: Tensor
    code: Tensor
    label: Tensor
    label_by_latent: Tensor
    label_by_code: Tensor
    label_by_label: Tensor

    def __init__(self, latent_size: int, code_size: int) -> None:
        super().__init__()
        self.register_buffer("seen", torch.tensor(0))
        self.register_buffer("latent", torch.zeros(latent_size))
        self.register_buffer("code", torch.zeros(code_size))
        self.register_buffer("label", torch.zeros(code_size))
        self.register_buffer("label_by_latent", torch.zeros(code_size, latent_size))
        self.register_buffer("label_by_code", torch.zeros(code_size, code_size))
        self.register_buffer("label_by_label", torch.zeros(code_size, code_size))

    def forward(self, latent: Tensor, code: Tensor, label: Tensor | None = None) -> Tensor:
        """label: code of the labels (N, code_size), by default the code; for training mode only."""
        if self.training:
            self.seen += 1
            weight = (1 / self.seen).clamp(min=self.MOMENTUM)
            self.gather(latent, code, code if label is None else label, weight)
        with _full_precision(latent):
            predicted = (code.float() - self.code) @ self.slope
            return latent.float() - predicted.view(latent.shape)

    @property
    def slope(self) -> Tensor:
        """(code_size, C * h * w): how far the latent moves with the code."""
        label_by_label = self.label_by_label - torch.outer(self.label, self.label)
        label_by_code = self.label_by_code - torch.outer(self.label, self.code)
        label_by_latent = self.label_by_latent - torch.outer(self.label, self.latent)
        # A binary attribute's code is collinear; the ridge picks the smallest of the solutions.
        ridge = self.RIDGE * torch.eye(len(self.code), device=self.code.device)
        of_code = _inverse(label_by_label + ridge) @ label_by_code
        covariance = of_code.T @ label_by_label @ of_code
        return _inverse(covariance + ridge) @ (of_code.T @ label_by_latent)

    @torch.no_grad()
    def gather(self, latent: Tensor, code: Tensor, label: Tensor, weight: float | Tensor) -> None:
        """Takes a batch into the moments; weights 1, 1/2, 1/3, ... make plain means of them."""
        with _full_precision(latent):
            latent, code, label = latent.flatten(1).float(), code.float(), label.float()
            self.latent.lerp_(latent.mean(0), weight)
            self.code.lerp_(code.mean(0), weight)
            self.label.lerp_(label.mean(0), weight)
            self.label_by_latent.lerp_(label.T @ latent / len(label), weight)
            self.label_by_code.lerp_(label.T @ code / len(label), weight)
            self.label_by_label.lerp_(label.T @ label / len(label), weight)


def _inverse(matrix: Tensor) -> Tensor:
    """Of a symmetric positive definite matrix (n, n), by the iteration of Newton and Schulz (1933).

    Products alone: unlike a solver's, their result has not to be waited for, and a CUDA graph can
    hold them. Steps enough for a condition number of 10^5.
    """
    twice = 2 * torch.eye(len(matrix), device=matrix.device)
    inverse = 0.5 * twice / matrix.abs().sum(0).amax()
    for _ in range(20):
        inverse = inverse @ (twice - matrix @ inverse)
    return inverse


def _full_precision(like: Tensor) -> torch.autocast:
    """Moments are small differences of large sums, too fine for bfloat16."""
    return torch.autocast(like.device.type, enabled=False)


class ConditionedUpsample(nn.Module):
    """Transposed convolution 4x4, stride 2, of [x, code planes]: (N, C, h, w) -> (N, C', 2h, 2w).

    The paper spreads the code over the plane and concatenates it to the input (section 3.3). A
    constant plane's contribution is the same at every interior position of equal parity, so it
    is computed on a 2x2 plane and tiled, which gives the same result for far less work.
    """

    def __init__(self, in_channels: int, code_size: int, out_channels: int, bias: bool) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.conv = nn.ConvTranspose2d(in_channels + code_size, out_channels, 4, 2, 1, bias=bias)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        weight_x, weight_code = self.conv.weight.split(
            [self.in_channels, self.conv.in_channels - self.in_channels]
        )
        from_x = F.conv_transpose2d(x, weight_x, self.conv.bias, 2, 1)
        planes = code[:, :, None, None].expand(-1, -1, 2, 2)
        from_code = F.conv_transpose2d(planes, weight_code, None, 2, 1)
        return from_x + _tile(_tile(from_code, 2, x.shape[2]), 3, x.shape[3])


def _tile(response: Tensor, dim: int, size: int) -> Tensor:
    """Rows (edge, odd, even, edge) of a 2-wide plane's response -> those of a ``size``-wide one."""
    first, inner, last = response.split([1, 2, 1], dim)
    repeats = [1, 1, 1, 1]
    repeats[dim] = size - 1
    return torch.cat([first, inner.repeat(repeats), last], dim)


def smooth(image: Tensor) -> Tensor:
    """Image (N, 3, S, S) -> the same, filtered by [1 2 1] / 4 along rows and along columns.

    No pattern with a period of two pixels is left, and half of one with a period of four: grids
    that transposed convolutions draw (Odena et al. 2016) and that critics find photo-like.
    """
    x = F.pad(image, (1, 1, 1, 1), mode="replicate")
    x = x[:, :, :-2] + 2 * x[:, :, 1:-1] + x[:, :, 2:]
    return (x[..., :-2] + 2 * x[..., 1:-1] + x[..., 2:]) / 16


class Decoder(nn.Module):
    """Latent (N, C, h, w) and code (N, code_size) -> image (N, 3, S, S) in [-1, 1].

    Mirrors the encoder with transposed convolutions, batch normalisation and ReLU, Tanh at the
    end; the code enters every layer (paper, section 3.3). It also enters the latent, with a weight
    for every position: faces are aligned, so glasses and mouths have their place, which a constant
    plane cannot name. The picture is smoothed before Tanh.
    """

    def __init__(self, widths: Sequence[int], code_size: int, latent_side: int) -> None:
        super().__init__()
        self.placement = nn.Linear(code_size, widths[-1] * latent_side**2)
        outputs = [*reversed(widths[:-1]), 3]
        inputs = list(reversed(widths))
        last = len(outputs) - 1
        self.upsamples = nn.ModuleList(
            ConditionedUpsample(inputs[i], code_size, outputs[i], bias=i == last)
            for i in range(len(outputs))
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in outputs[:-1])

    def forward(self, latent: Tensor, code: Tensor) -> Tensor:
        x = latent + self.placement(code).view(latent.shape)
        for upsample, norm in zip(self.upsamples, self.norms, strict=False):
            x = F.relu(norm(upsample(x, code)))
        return torch.tanh(smooth(self.upsamples[-1](x, code)))


class Fader(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="fader-demo",
    tags=["fader-network", "face-editing", "image-to-image"],
):
    """Encoder, decoder and the schema of the attributes that the decoder is told.

    attributes: the schema as JSON (``AttributeSchema.to_config``). image_size: S, a multiple of
    ``2**(depth + 1)``. width, max_width, depth: channels after the first halving, their cap, and
    the number of halvings. latent_channels: C, by default as wide as the last block.
    encoder_residuals: see ``Encoder``. The paper's model: image_size 256, width 32, max_width 512,
    depth 6.

    fitted_erasure: what is taken from latents that were fitted to their photos
    (``fader_demo.inversion``), nothing until it is measured (``train.erasure``).
    """

    def __init__(
        self,
        attributes: Sequence[Mapping[str, Any]],
        image_size: int = 128,
        width: int = 32,
        max_width: int = 512,
        depth: int = 5,
        latent_channels: int | None = None,
        encoder_residuals: int = 0,
    ) -> None:
        super().__init__()
        if image_size % 2 ** (depth + 1) or image_size < 2 ** (depth + 1):
            raise ValueError(
                f"image_size {image_size} must be a multiple of 2**(depth + 1) = {2 ** (depth + 1)}"
            )
        self.schema = AttributeSchema.from_config(attributes)
        self.image_size = image_size
        widths = block_widths(width, max_width, depth)
        widths[-1] = latent_channels or widths[-1]
        self.latent_shape = (widths[-1], image_size // 2**depth, image_size // 2**depth)
        self.encoder = Encoder(widths, encoder_residuals)
        sizes = math.prod(self.latent_shape), self.schema.code_size
        self.erasure, self.fitted_erasure = LinearErasure(*sizes), LinearErasure(*sizes)
        self.decoder = Decoder(widths, self.schema.code_size, self.latent_shape[1])

    def encode(self, image: Tensor, values: Tensor, labels: Tensor | None = None) -> Tensor:
        """Image (N, 3, S, S) in [-1, 1] and its own values -> latent (N, *latent_shape).

        labels: (N, attributes), which the values estimate; for training mode only.
        """
        label = None if labels is None else self.schema.encode(labels)
        return self.erasure(self.encoder(image), self.schema.encode(values), label)

    def decode(self, latent: Tensor, values: Tensor) -> Tensor:
        """Latent (N, *latent_shape), attribute values (N, attributes) -> image in [-1, 1]."""
        return self.decoder(latent, self.schema.encode(values))

    def forward(
        self,
        image: Tensor,
        values: Tensor,
        *others: Tensor,
        labels: Tensor | None = None,
        noise: float = 0.0,
    ) -> tuple[Tensor, ...]:
        """Image and its own values -> latent, reconstruction, and a decode for each of ``others``.

        One encoder pass and one decoder pass serve all of them. What is asked of ``others`` is
        asked of the decoder: the encoder has a face to keep, and edits would take most of its
        gradient. labels: see ``encode``. noise: standard deviation of Gaussian noise added to the
        latent, in training: it bounds what can be hidden in small amplitudes.
        """
        latent = self.encode(image, values, labels)
        if noise:
            latent = latent + noise * torch.randn_like(latent)
        wanted = [values, *others]
        latents = torch.cat([latent, *(latent.detach() for _ in others)])
        decoded = self.decode(latents, torch.cat(wanted))
        return latent, *decoded.chunk(len(wanted))
