"""What an edit did to a face: its attributes as the estimator reads them, and how much is left."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fader_demo.attributes import Attribute, Value
from fader_demo.blending import DETAIL
from fader_demo.editor import Editor, Face, to_tensor
from fader_demo.estimator import anchored

NOTED = 0.35
"""Change of a reading, in label steps, from which it is a side effect and not chance.

Measured on 100 validation people. JPEG compression, a shift by one pixel, mirroring and faint noise
each move less than 3 % of the readings as far. Of the side effects of single sliders that are as
large, an independent judge (``train.judge``) sees 97 % go the same way.
"""

INNER_FACE = (0.5, 0.6), (0.22, 0.28)
"""An ellipse from brows to chin: centre and half axes (x, y), as fractions of an aligned face."""

UNCHANGED = 0.1
"""A pixel is as it was if no channel changed by more, in [-1, 1]: a twentieth of the range."""


@dataclass(frozen=True)
class Reading:
    """One attribute, read off the photo and off the edited face, not held within its slider.

    before, after: in the attribute's own unit. Of a binary one, 0 and 1 are the average faces
    without and with it. Of a categorical one, the number of the likeliest choice.
    probability: of the choice read after, before and after; None if it is not categorical.
    asked: where the slider was moved to, or None if it was not.
    """

    attribute: Attribute
    before: float
    after: float
    probability: tuple[float, float] | None
    asked: float | None

    @property
    def change(self) -> float:
        """In label steps: 1 is the way from one average face of a binary attribute to the other,
        the whole range of a continuous one, and certainty of another choice."""
        if self.probability:
            return self.probability[1] - self.probability[0]
        low, high = self.attribute.range
        return (self.after - self.before) / (high - low)

    @property
    def is_side_effect(self) -> bool:
        """It changed by more than NOTED, and its slider was not moved."""
        turned = self.probability is None or self.before != self.after
        return self.asked is None and abs(self.change) > NOTED and turned

    def text(self, value: float) -> str:
        """A value of this attribute as people read it: "0.6", "41 years", "brown"."""
        if self.attribute.kind == "categorical":
            return self.attribute.choices[int(value)]
        return f"{value:z.{self._digits}f} {self.attribute.unit}".rstrip()

    @property
    def what_happened(self) -> str:
        """The end of a sentence: "raised Mouth open (+0.6)", "turned Hair from black to brown"."""
        label = self.attribute.label
        if self.attribute.kind == "categorical":
            return f"turned {label} from {self.text(self.before)} to {self.text(self.after)}"
        difference = self.after - self.before
        verb = "raised" if difference > 0 else "lowered"
        return f"{verb} {label} ({'+' if difference > 0 else ''}{self.text(difference)})"

    @property
    def _digits(self) -> int:
        """Decimals that show a tenth of the range or finer."""
        low, high = self.attribute.range
        return max(0, 1 - math.floor(math.log10(high - low)))


@dataclass(frozen=True)
class Explanation:
    """What an edit did.

    readings: of every attribute: the moved ones, then side effects, largest first, then the rest.
    unchanged: share of the inner face, 0..1, that is as it was: see ``unchanged``.
    """

    readings: tuple[Reading, ...]
    unchanged: float

    @property
    def moved(self) -> list[Reading]:
        """Those whose slider was moved."""
        return [reading for reading in self.readings if reading.asked is not None]

    @property
    def side_effects(self) -> list[str]:
        """A sentence for each, the largest first: "Moving Smiling also raised Young (+0.4)."

        The sliders named are all that were moved: which of them did it, the picture does not tell.
        """
        labels = [reading.attribute.label for reading in self.moved]
        effects = [reading for reading in self.readings if reading.is_side_effect]
        return [f"Moving {_listed(labels)} also {effect.what_happened}." for effect in effects]


@torch.inference_mode()
def explain(
    editor: Editor, face: Face, values: Mapping[str, Value], detail: float = DETAIL
) -> Explanation:
    """What ``editor.render`` changes with these values, for one decode and one estimator pass.

    Raises what ``editor.render`` raises: SchemaError for names and values that cannot be right.
    """
    edited = editor.render(face, values, detail=detail)
    before, after = (to_tensor(picture) for picture in (face.aligned, edited))
    named = {name: editor.schema[name].clamp(value) for name, value in values.items()}
    asked = {name: value for name, value in named.items() if value != face.values[name]}
    readings = _readings(editor, torch.cat([before, after]), asked)
    readings.sort(key=_place)
    return Explanation(tuple(readings), unchanged(before, after).item())


def unchanged(before: Tensor, after: Tensor) -> Tensor:
    """Aligned faces (N, 3, S, S) in [-1, 1] and the same edited -> shares (N,), 0..1.

    The share of INNER_FACE that is as it was. It tells how much was drawn anew, not who is seen:
    no feature of the estimator or the encoder tells people apart well enough for that. But it puts
    edits into nearly the order that embeddings made for telling people apart put them into
    (``train.evaluate`` measures how nearly).
    """
    changed = (after - before).abs().amax(1)
    inside = _inner_face(changed.shape[-1]).to(changed.device)
    return (changed[:, inside] <= UNCHANGED).float().mean(1)


def _inner_face(size: int) -> Tensor:
    """(size, size) of bool: the pixels of INNER_FACE."""
    (x, y), (across, down) = INNER_FACE
    places = (torch.arange(size) + 0.5) / size
    return ((places - x) / across).square() + ((places[:, None] - y) / down).square() <= 1


def _readings(editor: Editor, pictures: Tensor, asked: Mapping[str, float]) -> list[Reading]:
    """pictures (2, 3, S, S): the photo and the edited face. In the order of the schema."""
    estimator, schema = editor.estimator, editor.schema
    logits = estimator(pictures.to(editor.device))
    columns = anchored(schema, logits, estimator.anchors).T.tolist()
    return [
        Reading(attribute, before, after, _probability(attribute, part), asked.get(attribute.name))
        for attribute, (before, after), part in zip(
            schema, columns, schema.split_prediction(logits), strict=True
        )
    ]


def _place(reading: Reading) -> tuple[int, float]:
    """What comes first in an explanation, as a key to sort by."""
    if reading.is_side_effect:
        return 1, -abs(reading.change)
    return (2 if reading.asked is None else 0), 0.0


def _probability(attribute: Attribute, logits: Tensor) -> tuple[float, float] | None:
    """Logits (2, choices) before and after -> the probabilities of the choice read after."""
    if attribute.kind != "categorical":
        return None
    before, after = logits.softmax(1)[:, logits[1].argmax()].tolist()
    return before, after


def _listed(names: Sequence[str]) -> str:
    """ "A", "A and B", "A, B and C"."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
