"""Which photos show dark glasses, behind which no eyes are seen.

Photos labelled with glasses show sunglasses in a third of all cases, and a dark lens is easier to
draw than an eye behind a clear one: a decoder that learns from both puts sunglasses on people.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from train.data import PreparedFaces

GLASSES = "Eyeglasses"
LENSES = ((0.42, 0.52, 0.30, 0.45), (0.42, 0.52, 0.55, 0.70))
"""Top, bottom, left and right, in parts of an aligned face (``fader_demo.faces.TEMPLATE``)."""
CHEEKS = ((0.59, 0.67, 0.30, 0.42), (0.59, 0.67, 0.58, 0.70))
DARK = 0.45
"""A lens is dark if it is less than so many times as light as the cheeks. Of CelebA's photos with
glasses 34 % are."""


def dark_glasses(faces: PreparedFaces) -> Tensor:
    """(N,), true where a face that is labelled with glasses has dark ones."""
    dark = torch.zeros(len(faces), dtype=torch.bool)
    if GLASSES in faces.schema.names:
        worn = faces.labels[:, faces.schema.index_of(GLASSES)] > 0.5
        for part in worn.nonzero()[:, 0].split(256):
            light = (faces.batch(part).images.mean(1) + 1) / 2
            cheeks = _median(light, CHEEKS).clamp(min=0.08)  # of a face in the dark, nothing
            dark[part] = (_median(light, LENSES) < DARK * cheeks).cpu()
    return dark


def _median(light: Tensor, places: Iterable[tuple[float, ...]]) -> Tensor:
    """Of pictures (N, S, S) over all the places together, (N,)."""
    parts = []
    for place in places:
        top, bottom, left, right = (round(edge * light.shape[-1]) for edge in place)
        parts.append(light[:, top:bottom, left:right].flatten(1))
    return torch.cat(parts, dim=1).median(1).values
