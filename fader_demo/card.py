"""What is known about a model, from the files beside its weights; each of them may be missing.

    model/README.md       the model card
    model/metrics.json    what ``train.evaluate`` measured
    model/presets.json    edits with a name: [{"name": "Big smile", "values": {"Smiling": 1.3}}]

A model may come from strangers: a file that is damaged or too large counts as missing.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from fader_demo.attributes import AttributeSchema, SchemaError

MAX_BYTES = 1_000_000
"""Of a file; a larger one is not read."""

MAX_PRESETS = 24
MAX_NAME = 40
"""Characters of a preset's name."""

MAX_SCORE = 100.0
"""Of a judged score or its shift, in distances between average faces. Beyond it is no figure."""

RISING = 0.25
"""Share of its slope between the labels with which a response must rise to be believed."""

JsonT = TypeVar("JsonT", list, dict)
Direction = Literal["off", "on"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preset:
    """An edit with a name.

    values: by attribute, within its slider; a choice by its number. Attributes not named stay.
    """

    name: str
    values: Mapping[str, float]


@dataclass(frozen=True)
class ModelCard:
    """What is known about a model with the attributes of ``schema``.

    text: the model card, Markdown as its author wrote it: to be sanitised where it is shown.
    figures: metrics.json, in which no number is infinite or NaN; unchecked otherwise.
    """

    schema: AttributeSchema
    text: str = ""
    figures: Mapping[str, Any] | None = None
    presets: tuple[Preset, ...] = ()

    @classmethod
    def read(cls, folder: Path, schema: AttributeSchema) -> ModelCard:
        """The card of a model's folder; logs a warning for each file that cannot be used."""
        return cls(
            schema,
            _body(_read(folder / "README.md") or ""),
            _read_json(folder / "metrics.json", dict),
            _presets(folder / "presets.json", schema),
        )

    def believable(self, attribute: str) -> tuple[float, float]:
        """The part of an attribute's slider in which edits are believable.

        As metrics.json says ("believable"), else from the measured response, else the whole
        slider. By the response it is the stretch between the labels and, on either side, all
        through which the mean judged score goes on rising with at least `RISING` of its slope
        between the labels: where more strength shows no more of the attribute, it only distorts.
        """
        found, figures = self.schema[attribute], self._figures(attribute)
        part = _interval(figures.get("believable")) or _rising(_response(figures), found.range)
        ends = part or found.slider
        low, high = max(ends[0], found.slider[0]), min(ends[1], found.slider[1])
        return (low, high) if low < high else found.slider

    def entangled(
        self, attribute: str, threshold: float = 0.5
    ) -> dict[str, dict[Direction, float]]:
        """Other attributes that change with this one: {"Beard": {"on": 0.9}}.

        "on" is the mean shift of the other's judged score with the slider at its high end, "off"
        at its low end; left out if below ``threshold``. A shift of 1 is the distance between the
        average faces with and without the other attribute.
        """
        shifts: dict[str, dict[Direction, float]] = {}
        effects = _part(self._figures(attribute), "side_effects")
        directions: tuple[Direction, ...] = ("off", "on")
        for direction in directions:
            for other, shift in _scores(_part(effects, direction)).items():
                if other in self.schema.names and abs(shift) >= threshold:
                    shifts.setdefault(other, {})[direction] = shift
        return shifts

    def leakage(self, attribute: str) -> float | None:
        """How well a fresh probe still reads the attribute off the latent: AUC, 0.5 is not at all.

        Of several probes, the best. None if it was not measured.
        """
        figures = self._figures(attribute)
        probes = (_number(figures.get(name)) for name in ("probe_linear", "probe_mlp"))
        return max((auc for auc in probes if auc is not None and 0 <= auc <= 1), default=None)

    def _figures(self, attribute: str) -> dict[str, Any]:
        return _part(_part(self.figures, "attributes"), attribute)


def _read(path: Path) -> str | None:
    """A text file; None where there is none, or none that can be used."""
    try:
        if not path.exists():
            return None
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            raise ValueError("it is too large or no file")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        _logger.warning("%s is not used: %s", path, error)
        return None


def _read_json(path: Path, expected: type[JsonT]) -> JsonT | None:
    text = _read(path)
    if text is None:
        return None
    try:
        parsed = json.loads(text, parse_float=_finite, parse_constant=lambda name: None)
        if not isinstance(parsed, expected):
            raise ValueError(f"it holds no {expected.__name__}")
    except (ValueError, RecursionError) as error:
        _logger.warning("%s is not used: %s", path, error)
        return None
    return parsed


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _body(markdown: str) -> str:
    """A model card without its front matter, the YAML between two lines of dashes."""
    start, _, rest = markdown.partition("\n")
    if start.strip() == "---":
        _, closed, body = rest.partition("\n---\n")
        markdown = body if closed else markdown
    return markdown.strip()


def _presets(path: Path, schema: AttributeSchema) -> tuple[Preset, ...]:
    entries = _read_json(path, list) or []
    presets = {p.name: p for p in (_preset(e, schema) for e in entries[:MAX_PRESETS]) if p}
    if len(presets) < len(entries):
        _logger.warning("%s: %d presets are not used", path, len(entries) - len(presets))
    return tuple(presets.values())


def _preset(entry: Any, schema: AttributeSchema) -> Preset | None:
    """A checked preset; None for one that cannot be shown or moves no slider of this model."""
    name = entry.get("name") if isinstance(entry, dict) else None
    values = _part(entry, "values")
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        return None
    if not values or any(type(value) not in (int, float, str) for value in values.values()):
        return None
    try:
        numbers = schema.numbers(values)
    except SchemaError:
        return None
    if any(schema[attribute].clamp(number) != number for attribute, number in numbers.items()):
        return None
    return Preset(name, numbers)


def _part(parsed: Any, key: str) -> dict[str, Any]:
    """A part of parsed JSON that should be an object; an empty one if it is none."""
    part = parsed.get(key) if isinstance(parsed, dict) else None
    return part if isinstance(part, dict) else {}


def _number(value: Any) -> float | None:
    """A parsed JSON number that is not too large for a float."""
    if type(value) not in (int, float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def _scores(parsed: dict[str, Any]) -> dict[str, float]:
    """What is a score, by the same key."""
    numbers = {key: _number(value) for key, value in parsed.items()}
    return {key: n for key, n in numbers.items() if n is not None and abs(n) <= MAX_SCORE}


def _interval(parsed: Any) -> tuple[float, float] | None:
    if not isinstance(parsed, list) or len(parsed) != 2:
        return None
    low, high = map(_number, parsed)
    return (low, high) if low is not None and high is not None and low < high else None


def _response(figures: dict[str, Any]) -> list[tuple[float, float]]:
    """(strength, mean judged score), in the order of strength; empty if it was not measured."""
    points = {}
    for key, score in _scores(_part(figures, "response")).items():
        try:
            points[float(key)] = score
        except ValueError:
            continue
    return sorted(point for point in points.items() if math.isfinite(point[0]))


def _rising(
    response: list[tuple[float, float]], labels: tuple[float, float]
) -> tuple[float, float] | None:
    """The stretch in which a response rises (``ModelCard.believable``); None if it never does."""
    if len(response) < 2:
        return None
    strengths, scores = zip(*response, strict=True)
    off, on = np.interp(labels, strengths, scores)
    if on <= off:
        return None
    enough = RISING * (on - off) / (labels[1] - labels[0])
    rises = np.diff(scores) >= enough * np.diff(strengths)
    low, high = labels
    for end, rising in zip(reversed(strengths[:-1]), reversed(rises), strict=True):
        if end < low and not rising:
            break
        low = min(low, end)
    for end, rising in zip(strengths[1:], rises, strict=True):
        if end > high and not rising:
            break
        high = max(high, end)
    return low, high
