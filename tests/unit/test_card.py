from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fader_demo.attributes import AttributeSchema
from fader_demo.card import MAX_BYTES, MAX_PRESETS, ModelCard, Preset

SCHEMA = AttributeSchema.from_config(
    [
        {"name": "Smiling", "slider": [-1, 2]},
        {"name": "Beard"},
        {"name": "Age", "kind": "continuous", "range": [20, 70], "slider": [0, 90], "default": 40},
        {"name": "Hair", "kind": "categorical", "choices": ["black", "blond"]},
    ]
)
ROOT = Path(__file__).parents[2]


def card(folder: Path, smiling: dict[str, Any] | None = None) -> ModelCard:
    """The card of a folder, after writing what was measured of Smiling."""
    if smiling is not None:
        (folder / "metrics.json").write_text(json.dumps({"attributes": {"Smiling": smiling}}))
    return ModelCard.read(folder, SCHEMA)


def presets(folder: Path, entries: Any) -> tuple[Preset, ...]:
    (folder / "presets.json").write_text(json.dumps(entries))
    return ModelCard.read(folder, SCHEMA).presets


def test_a_model_without_files_has_an_empty_card(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known = card(tmp_path)
    assert (known.text, known.figures, known.presets) == ("", None, ())
    assert known.believable("Smiling") == (-1, 2) and known.believable("Age") == (0, 90)
    assert known.entangled("Smiling") == {} and known.leakage("Smiling") is None
    assert not caplog.records


def test_the_text_is_the_model_card_without_its_front_matter(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("---\nlicense: x\ntags:\n  - a\n---\n\n# Faces\n\n---\n\nLimits.\n")
    assert card(tmp_path).text == "# Faces\n\n---\n\nLimits."
    for plain in ("# Faces", "--- dashes\nand words", "---\nnever closed"):
        readme.write_text(plain)
        assert card(tmp_path).text == plain


@pytest.mark.parametrize("name", ["README.md", "metrics.json", "presets.json"])
@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe\x00",
        b" " * (MAX_BYTES + 1),
        b"[" * 100_000,
        b"nothing",
        b'"text"',
        b"1" * 5000,
    ],
    ids=["not text", "too large", "too deep", "not JSON", "another type", "endless number"],
)
def test_a_damaged_file_counts_as_missing_and_is_warned_of_once(
    tmp_path: Path, name: str, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / name).write_bytes(content)
    known = card(tmp_path)
    assert known.figures is None and known.presets == ()
    if name == "README.md" and len(content) <= MAX_BYTES and content.isascii():
        assert known.text == content.decode() and not caplog.records
    else:
        assert known.text == ""
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert name in caplog.text


def test_what_is_no_file_counts_as_missing(tmp_path: Path) -> None:
    (tmp_path / "README.md").mkdir()
    os.mkfifo(tmp_path / "metrics.json")
    assert card(tmp_path) == ModelCard(SCHEMA)


def test_presets_are_read_with_choices_by_their_number(tmp_path: Path) -> None:
    found = presets(tmp_path, [{"name": "Holiday", "values": {"Smiling": 2, "Hair": "blond"}}])
    assert found == (Preset("Holiday", {"Smiling": 2.0, "Hair": 1.0}),)


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "A", "values": {"Nose": 1}},
        {"name": "A", "values": {"Smiling": 2.01}},
        {"name": "A", "values": {"Smiling": "1"}},
        {"name": "A", "values": {"Smiling": True}},
        {"name": "A", "values": {"Smiling": None}},
        {"name": "A", "values": {"Smiling": [1]}},
        {"name": "A", "values": {"Smiling": float("nan")}},
        {"name": "A", "values": {"Smiling": 10**400}},
        {"name": "A", "values": {"Hair": "green"}},
        {"name": "A", "values": {"Hair": 2}},
        {"name": "A", "values": {}},
        {"name": "A", "values": [1]},
        {"name": "A"},
        {"name": "", "values": {"Smiling": 1}},
        {"name": "a" * 41, "values": {"Smiling": 1}},
        {"name": "a\nb", "values": {"Smiling": 1}},
        {"name": 1, "values": {"Smiling": 1}},
        {"values": {"Smiling": 1}},
        "A",
        None,
    ],
    ids=str,
)
def test_a_preset_that_the_model_cannot_show_is_left_out(
    tmp_path: Path, entry: Any, caplog: pytest.LogCaptureFixture
) -> None:
    good = {"name": "Smile", "values": {"Smiling": 1.2}}
    assert presets(tmp_path, [entry, good]) == (Preset("Smile", {"Smiling": 1.2}),)
    assert len(caplog.records) == 1


def test_presets_are_limited_in_number_and_have_different_names(tmp_path: Path) -> None:
    entries = [{"name": str(i // 2), "values": {"Beard": 1}} for i in range(1000)]
    names = [preset.name for preset in presets(tmp_path, entries)]
    assert len(names) == len(set(names)) <= MAX_PRESETS


def test_every_preset_of_the_shipped_models_can_be_shown(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for path in ROOT.glob("assets/*/presets.json"):
        config = json.loads((path.parent / "config.json").read_text())
        schema = AttributeSchema.from_config(config["attributes"])
        assert ModelCard.read(path.parent, schema).presets
        assert not caplog.records


def test_figures_hold_no_number_that_is_not_finite(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").write_text('{"faces": 3, "psnr": [NaN, -Infinity, 1e999, 2.5]}')
    assert card(tmp_path).figures == {"faces": 3, "psnr": [None, None, None, 2.5]}


def test_a_measured_believable_part_is_taken_as_it_is(tmp_path: Path) -> None:
    response = {"-1": 0, "0": 0.1, "1": 0.9, "2": 1.7}
    assert card(tmp_path, {"believable": [-0.5, 1.5], "response": response}).believable(
        "Smiling"
    ) == (-0.5, 1.5)


def test_a_believable_part_ends_with_the_slider(tmp_path: Path) -> None:
    assert card(tmp_path, {"believable": [-9, 9]}).believable("Smiling") == (-1, 2)
    assert card(tmp_path, {"believable": [5, 9]}).believable("Smiling") == (-1, 2)


@pytest.mark.parametrize(
    ("response", "part"),
    [
        ({"-1": -0.8, "0": 0.1, "1": 0.9, "2": 1.7}, (-1, 2)),
        ({"-1": 0.1, "-0.5": 0.05, "0": 0.1, "1": 0.9, "1.5": 1.3, "2": 1.3}, (0, 1.5)),
        ({"-1": -0.5, "-0.5": 0.5, "0": 0.1, "1": 0.9, "1.5": 0.8, "2": 1.7}, (0, 1)),
        ({"2": 1.2, "1.4": 1.1, "0.8": 0.8, "0.2": 0.2, "-0.4": -0.3, "-1": -0.2}, (-0.4, 1.4)),
        ({"-1": 0.1, "0": 0.1, "0.5": 0, "1": 0.9, "2": 1.7}, (0, 2)),
    ],
    ids=["all", "flat at both ends", "falls beside", "strengths off the labels", "dip within"],
)
def test_edits_are_believable_as_far_as_the_response_rises(
    tmp_path: Path, response: dict[str, float], part: tuple[float, float]
) -> None:
    assert card(tmp_path, {"response": response}).believable("Smiling") == part


@pytest.mark.parametrize(
    "measured",
    [
        {"response": {"-1": 1, "0": 0.9, "1": 0.1, "2": 0}},
        {"response": {"0": 1}},
        {"response": {"0": None, "1": "high", "2": [1]}},
        {"response": {"0": 0, "1": 1e300}},
        {"response": {"low": 0, "nan": 1, "inf": 2, "": 3}},
        {"response": [0, 1]},
        {"believable": [1, 0]},
        {"believable": [0, None]},
        {"believable": ["0", "1"]},
        {"believable": [False, True]},
        {"believable": [0, 10**400]},
        {"believable": 1},
    ],
    ids=str,
)
def test_without_a_usable_measurement_the_whole_slider_is_believable(
    tmp_path: Path, measured: dict[str, Any]
) -> None:
    assert card(tmp_path, measured).believable("Smiling") == (-1, 2)


def test_entangled_are_attributes_that_move_by_half_or_as_far_as_asked(tmp_path: Path) -> None:
    effects = {"on": {"Beard": 0.9, "Age": 0.2}, "off": {"Beard": -0.3, "Age": -0.5}}
    known = card(tmp_path, {"side_effects": effects})
    assert known.entangled("Smiling") == {"Beard": {"on": 0.9}, "Age": {"off": -0.5}}
    assert known.entangled("Smiling", 0.25) == {
        "Beard": {"on": 0.9, "off": -0.3},
        "Age": {"off": -0.5},
    }
    assert known.entangled("Beard") == {}


@pytest.mark.parametrize(
    "effects",
    [
        {"on": {"Nose": 1}},
        {"on": {"Beard": float("nan")}},
        {"on": {"Beard": 1e9}},
        {"on": {"Beard": "1"}},
        {"on": {"Beard": True}},
        {"on": [1]},
        {"up": {"Beard": 1}},
        [1],
    ],
    ids=str,
)
def test_side_effects_that_make_no_sense_are_ignored(tmp_path: Path, effects: Any) -> None:
    assert card(tmp_path, {"side_effects": effects}).entangled("Smiling") == {}


def test_leakage_is_what_the_best_probe_reads(tmp_path: Path) -> None:
    assert card(tmp_path, {"probe_linear": 0.6, "probe_mlp": 0.7}).leakage("Smiling") == 0.7
    assert card(tmp_path, {"probe_linear": 0.6, "probe_mlp": 7}).leakage("Smiling") == 0.6
    assert card(tmp_path, {"probe_mlp": "0.7", "probe_linear": None}).leakage("Smiling") is None
