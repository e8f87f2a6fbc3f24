"""Settings: an edit survives the trip as JSON, and a stranger's text gets a plain answer."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from fader_demo.attributes import AttributeSchema
from fader_demo.blending import DETAIL
from fader_demo.settings import MAX_CHARACTERS, Settings, SettingsError

SCHEMA = AttributeSchema.from_config(
    [{"name": "Smiling"}, {"name": "Hair", "kind": "categorical", "choices": ["black", "brown"]}]
)


def text(**changes: Any) -> str:
    return json.dumps({"fader": 1, "model": "faces", "values": {"Smiling": 1.0}} | changes)


def test_settings_read_back_as_they_were() -> None:
    settings = Settings({"Smiling": 1.5, "Hair": "brown", "Alter_ß": -0.25}, 0.25, "Gesichter, ä")
    assert Settings.from_json(settings.to_json()) == settings


def test_the_format_is_the_one_that_is_documented() -> None:
    written = json.loads(Settings({"Smiling": 1.0}, model="faces").to_json())
    expected = {"fader": 1, "model": "faces", "values": {"Smiling": 1.0}, "detail": DETAIL}
    assert written == expected


def test_detail_and_model_may_be_missing() -> None:
    assert Settings.from_json('{"fader": 1, "values": {}}') == Settings({}, DETAIL, "")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("9" * 10_000, "not JSON"),
        ("[1]", "object"),
        ('"text"', "object"),
        ("{}", '"fader"'),
        (text(fader=2), '"fader"'),
        (text(photo="x"), "no setting 'photo'"),
        ('{"fader": 1}', '"values" is missing'),
        (text(values=[1]), '"values"'),
        (text(values={"Smiling": None}), "Smiling must be a number or a text"),
        (text(values={"Smiling": True}), "Smiling"),
        (text(values={"Smiling": [1]}), "Smiling"),
        (text(values={"Smiling": math.nan}), "NaN"),
        (text(values={"Smiling": -math.inf}), "-Infinity"),
        ('{"fader": 1, "values": {"Smiling": 1e999}}', "Smiling"),
        (text(values={"Smiling": 10**400}), "Smiling"),
        (text(detail=1.1), "0 to 1"),
        (text(detail=-0.1), "0 to 1"),
        (text(detail="0.5"), "0 to 1"),
        (text(detail=None), "0 to 1"),
        (text(model=7), '"model"'),
        (text(model="x" * MAX_CHARACTERS), "1,000,000 characters"),
    ],
)
def test_what_cannot_be_used_says_why(given: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        Settings.from_json(given)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_settings_are_never_made_that_could_not_be_read(value: float) -> None:
    with pytest.raises(SettingsError, match="Smiling"):
        Settings({"Smiling": value})
    with pytest.raises(SettingsError, match="detail"):
        Settings({}, value)


def test_a_model_takes_what_it_knows_and_names_the_rest() -> None:
    settings = Settings({"Wings": 1.0, "Smiling": 0.5, "Hair": "green", "Tail": "long"}, 0.75, "m")
    known, unknown = settings.for_schema(SCHEMA)
    assert known == Settings({"Smiling": 0.5}, 0.75, "m")
    assert unknown == ["Wings", "Hair", "Tail"]
    everything = Settings({"Smiling": 0.5, "Hair": "brown"})
    assert everything.for_schema(SCHEMA) == (everything, [])
