"""An edit as JSON: how the page, the command line and people hand one to each other.

    {"fader": 1, "model": "faces", "values": {"Smiling": 1.0}, "detail": 0.5}

Nothing of a photo is in it, so that the same edit can be made in any other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, NoReturn

from fader_demo.attributes import AttributeSchema, SchemaError, Value
from fader_demo.blending import DETAIL

MAX_CHARACTERS = 1_000_000
"""Length of a text beyond which it is not read."""

_VERSION = 1  # of the format, under the key "fader"


class SettingsError(ValueError):
    """Settings that cannot be used; the message says what is wrong."""


@dataclass(frozen=True)
class Settings:
    """Where an edit's sliders stand.

    values: of the attributes that were moved, in each attribute's own unit; a categorical choice by
    name or number. The others stay as they are in the photo.
    detail: how much of the photo's own detail stays, 0..1.
    model: the name of the model that the edit was made with; for people to read.

    Raises SettingsError when a value is neither a finite number nor a text, or detail is not in
    0..1.
    """

    values: Mapping[str, Value]
    detail: float = DETAIL
    model: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.values, Mapping):
            raise SettingsError('"values" must be an object: an attribute and a value each.')
        for name, value in self.values.items():
            if not isinstance(value, str) and not _is_number(value):
                raise SettingsError(f"{name} must be a number or a text, not {value!r}.")
        if not _is_number(self.detail) or not 0 <= self.detail <= 1:
            raise SettingsError(f'"detail" must be a number from 0 to 1, not {self.detail!r}.')
        if not isinstance(self.model, str):
            raise SettingsError(f'"model" must be a text, not {self.model!r}.')

    def to_json(self) -> str:
        """The text that ``from_json`` reads back to equal settings."""
        entries = {
            "fader": _VERSION,
            "model": self.model,
            "values": dict(self.values),
            "detail": self.detail,
        }
        return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Settings from a text that may come from anyone. Raises SettingsError."""
        entries = _read_object(text)
        if entries.pop("fader", None) != _VERSION:
            raise SettingsError(
                f'These are no settings that this Fader reads: "fader" must be {_VERSION}.'
            )
        known = [field.name for field in fields(cls)]
        if unknown := [key for key in entries if key not in known]:
            raise SettingsError(
                f"There is no setting {unknown[0]!r}; there are {', '.join(known)}."
            )
        if "values" not in entries:
            raise SettingsError('"values" is missing.')
        return cls(**entries)

    def for_schema(self, schema: AttributeSchema) -> tuple[Settings, list[str]]:
        """What a model can do of the edit, and the names of the values that it does not know.

        A categorical choice that the model does not have counts as unknown.
        """
        unknown = [name for name, value in self.values.items() if not _knows(schema, name, value)]
        known = {name: value for name, value in self.values.items() if name not in unknown}
        return replace(self, values=known), unknown


def _knows(schema: AttributeSchema, name: str, value: Value) -> bool:
    try:
        schema.numbers({name: value})
    except SchemaError:
        return False
    return True


def _is_number(value: Any) -> bool:
    """A finite one. True and False are none, nor is a whole number too large for a float."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _read_object(text: str) -> dict[str, Any]:
    if len(text) > MAX_CHARACTERS:
        raise SettingsError(f"Settings have at most {MAX_CHARACTERS:,} characters.")
    try:
        entries = json.loads(text, parse_constant=_refuse)
    except SettingsError:
        raise
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"These settings are not JSON: {error}.") from error
    if not isinstance(entries, dict):
        raise SettingsError("Settings are a JSON object: { ... }.")
    return entries


def _refuse(constant: str) -> NoReturn:
    raise SettingsError(f"{constant} is no number that settings can hold.")
