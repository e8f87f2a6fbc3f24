"""The attributes a model edits: their names, kinds, ranges, and the numbers the networks see.

Three representations of the same thing:

- *values*: what people and sliders use, one entry per attribute, in the attribute's own unit;
- *code*: what the decoder is conditioned on, a vector of ``schema.code_size`` numbers;
- *prediction*: what a network that reads attributes (estimator, discriminator) puts out, a
  vector of ``schema.prediction_size`` logits.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor

Kind = Literal["binary", "categorical", "continuous"]
Value = float | str

CONTINUOUS_BINS = 8
"""Bins in which a continuous attribute is predicted (Devis et al. 2023, arXiv 2302.13542)."""

REGION_SIDE = 16
"""Rows and columns of a region: 8 pixels of a face of 128, as fine as faces are alike."""

ONSET_WAY = 0.05
"""Share of a slider's way to a label in which the decoder passes what shows nothing: few enough to
feel at once, and more than none, so that no picture jumps."""


class SchemaError(ValueError):
    """A schema or a value that cannot be right; the message names the attribute."""


@dataclass(frozen=True)
class Attribute:
    """One attribute, as the model knows it and as a person sees it.

    name: the key in values; label: what a slider shows (default: the name with spaces).
    range: the ends of the training labels: (0, 1) for binary, the attribute's own unit for
    continuous, ignored for categorical.
    slider: how far a slider goes, usually beyond ``range`` at both ends.
    default: where a slider stands when nothing is known about a face.
    choices: the K class names of a categorical attribute.
    gain: how many times as far as its slider the decoder is moved, downwards and upwards, so that
    a face moved to a label looks like the average face that has it (``train.calibration``).
    halfway: how much of the way to a label the decoder has gone, downwards and upwards, when its
    slider is half way there. A face told "0.5" may look all but untouched and change at once near
    "1"; 0.7 then makes half way look half, as 0.5 does where looks keep pace. It is counted beyond
    the onset.
    onset: how far from the far label the decoder is moved, downwards and upwards, before anything
    shows. The first ONSET_WAY of the way to a label takes it there, so that no slider begins with
    a stretch that does nothing.
    region: where on an aligned face the attribute shows, as REGION_SIDE rows of as many digits from
    0, nowhere, to 9. Its slider changes nothing elsewhere. Without one it changes all of the face.
    """

    name: str
    kind: Kind = "binary"
    label: str = ""
    group: str = "Face"
    range: tuple[float, float] = (0.0, 1.0)
    slider: tuple[float, float] = (-1.0, 2.0)
    default: float = 0.0
    unit: str = ""
    choices: tuple[str, ...] = ()
    gain: tuple[float, float] = (1.0, 1.0)
    halfway: tuple[float, float] = (0.5, 0.5)
    onset: tuple[float, float] = (0.0, 0.0)
    region: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._check_texts()
        object.__setattr__(self, "label", self.label or self.name.replace("_", " "))
        for pair in ("range", "slider"):
            object.__setattr__(self, pair, _interval(self.name, pair, getattr(self, pair)))
        for pair in ("gain", "halfway", "onset"):
            object.__setattr__(self, pair, _pair(self.name, pair, getattr(self, pair)))
        object.__setattr__(self, "choices", tuple(self.choices))
        object.__setattr__(self, "region", self._checked_region())
        object.__setattr__(self, "default", _finite(self.name, self.default))
        if self.kind not in ("binary", "categorical", "continuous"):
            raise SchemaError(f"Attribute {self.name}: unknown kind {self.kind!r}.")
        if min(self.gain) <= 0:
            raise SchemaError(f"Attribute {self.name}: gain must be more than 0.")
        if not all(0.25 < share < 0.75 for share in self.halfway):  # beyond, a slider would turn
            raise SchemaError(f"Attribute {self.name}: halfway must lie between 0.25 and 0.75.")
        if not all(0 <= moved <= 0.75 for moved in self.onset):
            raise SchemaError(f"Attribute {self.name}: onset must lie between 0 and 0.75.")
        if self.kind != "binary" and self.onset != (0.0, 0.0):
            raise SchemaError(f"Attribute {self.name}: only a binary attribute has an onset.")
        if self.kind == "categorical" and (self.gain, self.halfway) != ((1.0, 1.0), (0.5, 0.5)):
            raise SchemaError(f"Attribute {self.name}: choices have neither gain nor halfway.")
        if self.kind == "binary" and self.range != (0.0, 1.0):
            raise SchemaError(f"Attribute {self.name}: a binary attribute's range is [0, 1].")
        if self.kind == "categorical":
            if len(self.choices) < 2 or len(set(self.choices)) != len(self.choices):
                raise SchemaError(
                    f"Attribute {self.name}: a categorical attribute needs two or more "
                    "different choices."
                )
            self.number(self.default)
        elif not self.slider[0] <= self.default <= self.slider[1]:
            raise SchemaError(f"Attribute {self.name}: default lies outside the slider.")

    def _check_texts(self) -> None:
        """A schema may come from a stranger's file, where a text can be anything."""
        if not isinstance(self.name, str) or not self.name:
            raise SchemaError(f"An attribute's name must be a text, not {self.name!r}.")
        for what in ("kind", "label", "group", "unit"):
            if not isinstance(getattr(self, what), str):
                raise SchemaError(f"Attribute {self.name}: {what} must be a text.")
        if not isinstance(self.choices, (list, tuple)) or not all(
            isinstance(choice, str) for choice in self.choices
        ):
            raise SchemaError(f"Attribute {self.name}: choices must be a list of texts.")

    def _checked_region(self) -> tuple[str, ...]:
        rows, side = self.region, REGION_SIDE
        if (
            not isinstance(rows, (list, tuple))
            or len(rows) not in (0, side)
            or not all(isinstance(row, str) and len(row) == side for row in rows)
            or not all(row.isascii() and row.isdigit() for row in rows)
        ):
            raise SchemaError(
                f"Attribute {self.name}: region must be {side} rows of {side} digits."
            )
        return tuple(rows)

    @property
    def reach(self) -> tuple[float, float]:
        """What the decoder is told at most: at a slider's ends, of faces from the far label."""
        if self.gain == (1.0, 1.0):
            return -math.inf, math.inf
        (zero, one), (low, high), (down, up) = self.range, self.slider, self.gain
        return min(low, one - down * (one - low)), max(high, zero + up * (high - zero))

    @property
    def ends(self) -> tuple[float, float]:
        """The first and the last value that can be chosen: the slider's ends, or choices."""
        return (0.0, len(self.choices) - 1.0) if self.kind == "categorical" else self.slider

    @property
    def code_size(self) -> int:
        """Numbers this attribute takes in the decoder's code."""
        return len(self.choices) if self.kind == "categorical" else 2

    @property
    def prediction_size(self) -> int:
        """Logits this attribute takes in a prediction."""
        return {
            "binary": 1,
            "categorical": len(self.choices),
            "continuous": CONTINUOUS_BINS,
        }[self.kind]

    def number(self, value: Value) -> float:
        """The value as a finite float; a categorical choice's name becomes its index."""
        if self.kind == "categorical" and isinstance(value, str):
            if value not in self.choices:
                raise SchemaError(
                    f"{self.name} has no choice {value!r}; it has {', '.join(self.choices)}."
                )
            return float(self.choices.index(value))
        number = _finite(self.name, value)
        if self.kind == "categorical" and not (
            number.is_integer() and 0 <= number < len(self.choices)
        ):
            raise SchemaError(f"{self.name} has no choice number {value!r}.")
        return number

    def clamp(self, value: Value) -> float:
        """``number(value)`` held within the slider's limits."""
        number = self.number(value)
        if self.kind == "categorical":
            return number
        return min(max(number, self.slider[0]), self.slider[1])

    def spread(
        self, count: int, low: Value | None = None, high: Value | None = None
    ) -> list[float]:
        """``count`` values evenly from ``low`` to ``high``, by default the slider's ends.

        Of a categorical attribute, every choice.
        """
        if self.kind == "categorical":
            return [float(index) for index in range(len(self.choices))]
        first, last = (
            self.clamp(end if given is None else given)
            for given, end in zip((low, high), self.slider, strict=True)
        )
        return [first + (last - first) * i / (count - 1) for i in range(count)]

    def encode(self, values: Tensor) -> Tensor:
        """Values (N,) -> this attribute's part of the code (N, code_size).

        Binary and continuous: [1 - u, u] with u = 0 and 1 at the ends of ``range`` (the paper's
        coding, section 3.1), linear beyond them. Categorical: one-hot.
        """
        if self.kind == "categorical":
            return torch.nn.functional.one_hot(values.long(), len(self.choices)).to(values.dtype)
        low, high = self.range
        u = (values - low) / (high - low)
        return torch.stack([1 - u, u], dim=1)

    def decode(self, code: Tensor) -> Tensor:
        """The inverse of ``encode``: (N, code_size) -> (N,)."""
        if self.kind == "categorical":
            return code.argmax(dim=1).to(code.dtype)
        low, high = self.range
        return low + code[:, 1] * (high - low)

    def target(self, values: Tensor) -> Tensor:
        """Labels (N,) -> soft targets (N, prediction_size) in [0, 1].

        A continuous value is split between the two nearest bin centres, so the expectation over
        bins is the value itself.
        """
        if self.kind == "binary":
            return values.clamp(0, 1).unsqueeze(1)
        if self.kind == "categorical":
            return self.encode(values)
        position = self.encode(values)[:, 1].clamp(0, 1) * (CONTINUOUS_BINS - 1)
        centres = torch.arange(CONTINUOUS_BINS, device=values.device, dtype=values.dtype)
        return (1 - (position.unsqueeze(1) - centres).abs()).clamp(min=0)

    def read(self, logits: Tensor) -> Tensor:
        """Logits (N, prediction_size) -> values (N,): probability, class index or expectation."""
        if self.kind == "binary":
            return logits.squeeze(1).sigmoid()
        if self.kind == "categorical":
            return logits.argmax(dim=1).to(logits.dtype)
        low, high = self.range
        centres = torch.linspace(low, high, CONTINUOUS_BINS, device=logits.device)
        return logits.softmax(dim=1) @ centres.to(logits.dtype)


class AttributeSchema(Sequence[Attribute]):
    """The attributes of one model, in the order of its code. Travels with the weights."""

    def __init__(self, attributes: Sequence[Attribute]) -> None:
        self._attributes = tuple(attributes)
        if not self._attributes:
            raise SchemaError("A schema needs at least one attribute.")
        if len(set(self.names)) != len(self.names):
            raise SchemaError("Two attributes of the schema share a name.")
        self._labels, self._gains, self._halfway, self._onset, self._reach = (
            torch.tensor([getattr(attribute, pair) for attribute in self._attributes]).T
            for pair in ("range", "gain", "halfway", "onset", "reach")
        )
        self._binary = torch.tensor([a.kind == "binary" for a in self._attributes])
        everywhere = ("9" * REGION_SIDE,) * REGION_SIDE
        regions = [attribute.region or everywhere for attribute in self._attributes]
        self._regions = (
            torch.tensor([[list(map(int, row)) for row in rows] for rows in regions]) / 9
        )

    @classmethod
    def from_config(cls, config: Sequence[Mapping[str, Any]]) -> AttributeSchema:
        """From JSON-like dicts, as ``to_config`` writes them. Unknown keys are errors."""
        known = {field.name for field in fields(Attribute)}
        attributes = []
        for entry in config:
            if not isinstance(entry, Mapping) or "name" not in entry:
                raise SchemaError(f"An attribute needs at least a name; this has none: {entry!r}.")
            unknown = set(entry) - known
            if unknown:
                raise SchemaError(
                    f"Attribute {entry['name']!r}: unknown setting {min(unknown, key=str)!r}."
                )
            attributes.append(Attribute(**entry))
        return cls(attributes)

    def to_config(self) -> list[dict[str, Any]]:
        """JSON-like dicts that ``from_config`` reads back to an equal schema."""
        return [
            {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(attribute).items()}
            for attribute in self
        ]

    def __len__(self) -> int:
        return len(self._attributes)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, str):
            return self._attributes[self.index_of(index)]
        return self._attributes[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AttributeSchema) and self._attributes == other._attributes

    def __hash__(self) -> int:
        return hash(self._attributes)

    def to(self, device: torch.device) -> AttributeSchema:
        """The schema with its tables on a device, for whoever uses it there again and again: else
        they are copied to where they are used.
        """
        there = copy.copy(self)
        for name, table in vars(self).items():
            if isinstance(table, Tensor):
                setattr(there, name, table.to(device))
        return there

    @property
    def binary(self) -> Tensor:
        """(attributes,) of bool: which are binary."""
        return self._binary

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(attribute.name for attribute in self._attributes)

    @property
    def defaults(self) -> dict[str, float]:
        return {attribute.name: attribute.default for attribute in self._attributes}

    @property
    def code_size(self) -> int:
        return sum(attribute.code_size for attribute in self._attributes)

    @property
    def prediction_size(self) -> int:
        return sum(attribute.prediction_size for attribute in self._attributes)

    def index_of(self, name: str) -> int:
        """Position of an attribute; SchemaError (a ValueError) names the known ones."""
        try:
            return self.names.index(name)
        except ValueError:
            raise SchemaError(
                f"There is no attribute {name!r}; this model has {', '.join(self.names)}."
            ) from None

    def numbers(self, values: Mapping[str, Value]) -> dict[str, float]:
        """Checked values: every name known, every value finite. Not clamped to the sliders."""
        return {name: self[name].number(value) for name, value in values.items()}

    def table(self, values: Mapping[str, Value]) -> Tensor:
        """Values -> (1, attributes) in schema order; attributes not named take their default."""
        checked = self.defaults | self.numbers(values)
        return torch.tensor([[checked[name] for name in self.names]])

    def values(self, table: Tensor) -> dict[str, float]:
        """One row (attributes,) -> values."""
        return dict(zip(self.names, table.tolist(), strict=True))

    def amplify(self, start: Tensor, table: Tensor) -> Tensor:
        """What the decoder is told, (N, attributes), when sliders that began at ``start`` (N,
        attributes) stand at ``table``: each has moved as many times as far as its gain says, past
        its onset and on a parabola through its halfway as far as the label, and no farther than
        its reach.
        """
        moved = table - start
        label, gain, halfway, onset = (
            torch.where(moved < 0, down.to(table.device), up.to(table.device))
            for down, up in (self._labels, self._gains, self._halfway, self._onset)
        )
        zero, one = self._labels.to(table.device)
        far = torch.where(moved < 0, one, zero)
        way = label - start
        share = torch.where(moved * way > 0, moved / way, 1).clamp(max=1)
        left_to_skip = onset - (start - far).abs()
        skipped = (left_to_skip / (gain * way.abs()).clamp(min=1e-6)).clamp(0, 0.75)
        curve = 1 + (4 * halfway - 2) * (1 - share)
        bent = gain * ((1 - skipped) * curve + skipped * (1 / share).clamp(max=1 / ONSET_WAY))
        told = (table + (bent - 1) * moved).clamp(*self._reach.to(table.device))
        return torch.where(moved == 0, table, told)

    def region(self, start: Tensor, table: Tensor) -> Tensor:
        """How much may change where, (N, 1, REGION_SIDE, REGION_SIDE) in 0..1, when sliders that
        began at ``start`` (N, attributes) stand at ``table``: the regions of those that moved.
        """
        moved = (table != start)[:, :, None, None]
        return (moved * self._regions.to(table.device)).amax(1, keepdim=True)

    def encode(self, table: Tensor) -> Tensor:
        """Values (N, attributes) -> the decoder's code (N, code_size)."""
        columns = zip(self._attributes, table.unbind(1), strict=True)
        return torch.cat([attribute.encode(column) for attribute, column in columns], dim=1)

    def decode(self, code: Tensor) -> Tensor:
        """The decoder's code (N, code_size) -> values (N, attributes)."""
        parts = code.split([attribute.code_size for attribute in self._attributes], dim=1)
        columns = zip(self._attributes, parts, strict=True)
        return torch.stack([attribute.decode(part) for attribute, part in columns], dim=1)

    def split_prediction(self, prediction: Tensor) -> list[Tensor]:
        """(N, prediction_size) -> one (N, attribute.prediction_size) per attribute."""
        return list(prediction.split([a.prediction_size for a in self._attributes], dim=1))

    def target(self, table: Tensor) -> Tensor:
        """Labels (N, attributes) -> soft targets (N, prediction_size)."""
        columns = zip(self._attributes, table.unbind(1), strict=True)
        return torch.cat([attribute.target(column) for attribute, column in columns], dim=1)

    def read(self, prediction: Tensor) -> Tensor:
        """Logits (N, prediction_size) -> values (N, attributes)."""
        parts = self.split_prediction(prediction)
        columns = zip(self._attributes, parts, strict=True)
        return torch.stack([attribute.read(part) for attribute, part in columns], dim=1)


def _pair(name: str, what: str, pair: Any) -> tuple[float, float]:
    if not isinstance(pair, (list, tuple)) or len(pair) != 2:
        raise SchemaError(f"Attribute {name}: {what} needs two numbers.")
    return _finite(name, pair[0]), _finite(name, pair[1])


def _interval(name: str, what: str, pair: Any) -> tuple[float, float]:
    low, high = _pair(name, what, pair)
    if not low < high:
        raise SchemaError(f"Attribute {name}: {what} must rise from low to high.")
    return low, high


def _finite(name: str, value: Any) -> float:
    """The value as a finite float. A text is none, even one that spells a number."""
    try:
        number = math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise SchemaError(f"{name} needs a number, not {value!r}.")
    return number
