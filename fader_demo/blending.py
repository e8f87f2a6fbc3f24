"""How an edit enters the photo: the photo's own detail, except where the edit redraws the face."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

DETAIL = 0.5
"""Detail that is kept unless a visitor asks for more or less of it."""

REDRAWN = (0.1, 0.35)
"""Change of a pixel, in [-1, 1], from which the photo's detail fades, and at which it is gone.

Chosen by looking at edits of people the model had not seen: from 0.15 on, the frames of glasses
taken off and the teeth of closed mouths shine through; below 0.1 skin blurs that only changed tone.
"""

MASK_SIDE = 64
"""Pixels a side at which it is decided what is redrawn: a matter of regions, not of pixels."""


@dataclass(frozen=True)
class Change:
    """What becomes of an aligned face: ``face * keep + drawn``.

    keep: (N, 1, S, S) in 0..1, how much of the photo's own detail stays. drawn: (N, 3, S, S), for
    faces in [-1, 1].
    """

    keep: Tensor
    drawn: Tensor

    def apply(self, face: Tensor) -> Tensor:
        """Faces (N, 3, S, S) in [-1, 1] -> edited faces; values may lie slightly beyond."""
        return face * self.keep + self.drawn

    @property
    def in_levels(self) -> Change:
        """The same for faces in 8-bit levels, 0..255."""
        return Change(self.keep, 127.5 * (self.drawn + 1 - self.keep))

    def resized(self, size: int) -> Change:
        """For faces of another size in pixels."""
        keep, drawn = (
            F.interpolate(planes, (size, size), mode="bicubic", antialias=True)
            for planes in (self.keep, self.drawn)
        )
        return Change(keep, drawn)

    def __getitem__(self, rows: slice) -> Change:
        return Change(self.keep[rows], self.drawn[rows])


def confine(unedited: Tensor, edited: Tensor, region: Tensor) -> Tensor:
    """The edited decode (N, 3, S, S) in a region (N, 1, h, w), 0..1, and the unedited one outside.

    A decoder draws what came with an attribute in its photos: blond hair makes a face pale, a beard
    narrows the eyes. Where the attribute itself does not show (``AttributeSchema.region``), that is
    not what was asked for.
    """
    weight = F.interpolate(region, unedited.shape[-2:], mode="bilinear")
    return unedited.lerp(edited, weight)


def blend(unedited: Tensor, edited: Tensor, detail: float = DETAIL) -> Change:
    """The change from two decodes (N, 3, S, S) of a face, at its own values and at the edit's.

    The photo is the unedited decode plus detail that no decoder draws. That detail is carried over
    to the edited decode, except where the decodes disagree so much that it belongs to what is no
    longer there: frames of glasses taken off, teeth behind closed lips.

    detail: 0 draws all with the decoder, 1 keeps all of the photo's detail, DETAIL is as above.
    """
    redrawn = _redrawn(unedited, edited)
    keep = 1 - redrawn if detail == DETAIL else _leaning(1 - redrawn, detail)
    return Change(keep, edited - keep * unedited)


def _leaning(keep: Tensor, detail: float) -> Tensor:
    """Towards nothing kept below DETAIL, towards all kept above it."""
    if detail < DETAIL:
        return keep * (detail / DETAIL)
    return 1 - (1 - keep) * (1 - detail) / (1 - DETAIL)


@torch.no_grad()
def _redrawn(unedited: Tensor, edited: Tensor) -> Tensor:
    """(N, 1, S, S) in 0..1: where an edit redraws the face, grown a little and soft at its edge."""
    difference = (edited - unedited).float().abs().amax(1, keepdim=True)
    coarse = _soft(F.interpolate(difference, MASK_SIDE, mode="area"))
    low, high = REDRAWN
    share = ((F.max_pool2d(coarse, 3, 1, 1) - low) / (high - low)).clamp(0, 1)
    return F.interpolate(_soft(share), unedited.shape[-1], mode="bilinear")


def _soft(planes: Tensor) -> Tensor:
    return F.avg_pool2d(planes, 3, 1, 1, count_include_pad=False)
