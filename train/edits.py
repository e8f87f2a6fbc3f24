"""Edits of the faces of a split, and whether they carry a face across, as a judge sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from fader_demo.attributes import Attribute, AttributeSchema
from fader_demo.blending import blend, confine
from fader_demo.model import Fader
from train.data import PreparedFaces
from train.judge import Judge

BATCH = 64

Direction = Literal["on", "off"]
DIRECTIONS: tuple[Direction, ...] = ("on", "off")


class EditedFaces:
    """The faces of a split, encoded once, and edits of them as the product makes them.

    unedited: (N, 3, S, S), every face decoded at its own values.
    """

    def __init__(self, fader: Fader, faces: PreparedFaces, latents: Tensor) -> None:
        self.fader = fader
        self.faces = faces
        self.latents = latents
        parts = torch.arange(len(faces)).split(BATCH)
        self.unedited = torch.cat([self.decoded(p, faces.values[p]) for p in parts])

    def told(self, part: Tensor, values: Tensor) -> Tensor:
        """The photos at ``part`` (n,), edited by a decoder that is told ``values`` (n, attributes):
        (n, 3, S, S) in [-1, 1].
        """
        return self.blended(part, values, self.decoded(part, values))

    @torch.inference_mode()
    def decoded(self, part: Tensor, values: Tensor) -> Tensor:
        """What the decoder draws when it is told that: (n, 3, S, S) in [-1, 1]."""
        return self.fader.decode(self.latents[part], values)

    @torch.inference_mode()
    def blended(self, part: Tensor, values: Tensor, decoded: Tensor) -> Tensor:
        """The photos with what was ``decoded`` put into them."""
        unedited = self.unedited[part]
        region = self.fader.schema.region(self.faces.values[part], values)
        photos = self.faces.batch(part).images
        return blend(unedited, confine(unedited, decoded, region)).apply(photos).clamp(-1, 1)


class Edits(EditedFaces):
    """Edits by sliders, and what the judge reads there."""

    def __init__(self, fader: Fader, judge: Judge, faces: PreparedFaces, latents: Tensor) -> None:
        super().__init__(fader, faces, latents)
        self.judge = judge
        self.photos = self._judged(lambda part: faces.batch(part).images)
        self._scores: dict[tuple[int, float], Tensor] = {}

    def scores(self, index: int, strength: float) -> Tensor:
        """Scores (N, attributes) of every face with attribute ``index`` moved to ``strength``.

        They are read once: a label or an end of a slider is asked for more than once.
        """
        key = (index, round(strength, 6))
        if key not in self._scores:
            self._scores[key] = self._judged(lambda part: self.edited(part, index, strength))
        return self._scores[key]

    def edited(self, part: Tensor, index: int, strength: float) -> Tensor:
        """The photos at ``part`` with one slider moved: (n, 3, S, S) in [-1, 1]."""
        start = self.faces.values[part]
        sliders = start.clone()
        sliders[:, index] = strength
        return self.told(part, self.fader.schema.amplify(start, sliders))

    @torch.inference_mode()
    def _judged(self, pictures: Callable[[Tensor], Tensor]) -> Tensor:
        parts = torch.arange(len(self.faces)).split(BATCH)
        return torch.cat([self.judge.scores(pictures(part)) for part in parts])


def binary(schema: AttributeSchema) -> Iterator[tuple[int, Attribute]]:
    """The binary attributes and their positions."""
    return ((index, a) for index, a in enumerate(schema) if a.kind == "binary")


def targets(attribute: Attribute, direction: Direction) -> dict[str, float]:
    """Where an edit moves the slider: to the other "label", 1 or 0, and to its "end"."""
    low, high = attribute.slider
    return {"label": 1.0, "end": high} if direction == "on" else {"label": 0.0, "end": low}


def starts(before: Tensor, direction: Direction) -> Tensor:
    """Scores (N,) of photos -> (N,) of bool: whether an edit has to carry the face across 0.5."""
    return (before < 0.5) == (direction == "on")


def crossed(before: Tensor, after: Tensor, direction: Direction) -> Tensor:
    """Scores (N,) before and after -> (N,): 1 where the face went across, 0 where it did not.

    NaN where it was there before.
    """
    across = ((after > 0.5) == (direction == "on")).double()
    return torch.where(starts(before, direction), across, torch.nan)


def swaps(figures: Mapping[str, Any]) -> dict[str, float]:
    """{"swap_at_label", "swap_at_end"}: the mean of both directions, or of the one there is."""
    result = {}
    for place in ("label", "end"):
        ways = (figures.get(f"{direction}_at_{place}") for direction in DIRECTIONS)
        known = [way["mean"] for way in ways if way]
        if known:
            result[f"swap_at_{place}"] = round(sum(known) / len(known), 4)
    return result
