"""Explaining an edit: what was read, what was moved, what came along, and what is left."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from fader_demo import Editor, Face, SchemaError
from fader_demo.attributes import Attribute
from fader_demo.readings import NOTED, Explanation, Reading, explain, unchanged

EDIT = {"Smiling": 2.0, "Eyeglasses": 99}
MOUTH = Attribute("Mouth_open")
AGE = Attribute("Age", kind="continuous", range=(20, 70), slider=(0, 90), default=40, unit="years")
HAIR = Attribute("Hair", kind="categorical", choices=("black", "blond", "brown"))


@pytest.fixture(scope="module")
def editor(tiny_model_folder: Path) -> Editor:
    return Editor.from_pretrained(tiny_model_folder, device="cpu")


@pytest.fixture(scope="module")
def face(editor: Editor, astronaut: Image.Image) -> Face:
    return editor.open(astronaut)


def test_without_an_edit_nothing_has_changed(editor: Editor, face: Face) -> None:
    explanation = explain(editor, face, face.values)
    assert explanation.moved == explanation.side_effects == []
    assert explanation.unchanged == 1
    assert [reading.change for reading in explanation.readings] == pytest.approx([0] * 4, abs=1e-5)


def test_every_attribute_is_read_off_the_photo_and_off_the_edit(editor: Editor, face: Face) -> None:
    readings = explain(editor, face, EDIT).readings
    assert {reading.attribute.name for reading in readings} == set(editor.schema.names)
    edited = np.array(editor.render(face, EDIT))
    image = torch.from_numpy(edited).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.inference_mode():
        after = editor.schema.values(editor.estimator.read(image)[0])
    for reading in readings:
        clamp, name = reading.attribute.clamp, reading.attribute.name
        assert clamp(reading.before) == pytest.approx(face.values[name], abs=1e-4)
        assert clamp(reading.after) == pytest.approx(after[name], abs=1e-4)
    assert any(abs(reading.change) > 0.01 for reading in readings)


def test_readings_are_not_held_within_the_sliders(
    editor: Editor, face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(editor.estimator, "anchors", torch.tensor([[-99.0, -98.0]] * 4))
    smiling = explain(editor, face, EDIT).readings[0]
    assert smiling.before > smiling.attribute.slider[1]


def test_moved_attributes_come_first_with_the_place_they_were_moved_to(
    editor: Editor, face: Face
) -> None:
    explanation = explain(editor, face, {**face.values, **EDIT})
    assert [(r.attribute.name, r.asked) for r in explanation.moved] == [
        ("Smiling", 2.0),
        ("Eyeglasses", 1.5),  # held at the end of its slider
    ]
    assert list(explanation.readings[:2]) == explanation.moved


def test_it_costs_one_decode_and_one_pass_of_the_estimator(editor: Editor, face: Face) -> None:
    passes: Counter[nn.Module] = Counter()
    modules = (editor.estimator, editor.fader.encoder)
    hooks = [m.register_forward_hook(lambda m, *_: passes.update([m])) for m in modules]
    with patch.object(editor.decoder, "decode", wraps=editor.decoder.decode) as decode:
        explain(editor, face, EDIT)
    for hook in hooks:
        hook.remove()
    assert [passes[module] for module in modules] == [1, 0]
    assert decode.call_count == 1


def test_an_unknown_attribute_is_refused(editor: Editor, face: Face) -> None:
    with pytest.raises(SchemaError, match="Moustache"):
        explain(editor, face, {"Moustache": 1})


def test_less_of_the_face_is_unchanged_by_a_larger_edit(editor: Editor, face: Face) -> None:
    shares = [explain(editor, face, {"Smiling": s}, detail=1).unchanged for s in (0.3, 2)]
    assert 0 <= shares[1] < shares[0] <= 1


@pytest.mark.parametrize(
    ("effect", "sentence"),
    [
        (Reading(MOUTH, 0.1, 0.7, None, None), "raised Mouth open (+0.6)."),
        (Reading(MOUTH, 0.3, -0.72, None, None), "lowered Mouth open (-1.0)."),
        (Reading(AGE, 30, 54.7, None, None), "raised Age (+25 years)."),
        (Reading(HAIR, 0, 2, (0.2, 0.9), None), "turned Hair from black to brown."),
    ],
)
def test_a_side_effect_is_told_in_words(effect: Reading, sentence: str) -> None:
    assert _explained(["Smiling"], effect).side_effects == [f"Moving Smiling also {sentence}"]


@pytest.mark.parametrize(
    "reading",
    [
        Reading(MOUTH, 0, NOTED - 0.01, None, None),
        Reading(MOUTH, 0, 2, None, 1.5),  # it was moved itself
        Reading(AGE, 30, 45, None, None),  # 15 years of 50
        Reading(HAIR, 0, 2, (0.49, 0.51), None),  # a near tie that tips over
        Reading(HAIR, 0, 0, (0.95, 0.55), None),  # still black
    ],
)
def test_what_is_no_side_effect_is_not_told(reading: Reading) -> None:
    assert _explained(["Smiling"], reading).side_effects == []


@pytest.mark.parametrize(
    ("moved", "named"),
    [(["A"], "A"), (["A", "B"], "A and B"), (["A", "B", "C"], "A, B and C")],
)
def test_all_that_was_moved_is_named(moved: list[str], named: str) -> None:
    effect = Reading(MOUTH, 0, 1, None, None)
    assert _explained(moved, effect).side_effects[0].startswith(f"Moving {named} also raised")


def test_the_largest_side_effect_is_told_first(
    editor: Editor, face: Face, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fader_demo.readings.NOTED", 0)
    readings = explain(editor, face, {"Smiling": 2.0}).readings
    effects = [abs(reading.change) for reading in readings if reading.is_side_effect]
    assert len(effects) > 1
    assert effects == sorted(effects, reverse=True)


@pytest.mark.parametrize(
    ("reading", "value", "text"),
    [
        (Reading(MOUTH, 0, 0, None, None), -0.04, "0.0"),
        (Reading(AGE, 0, 0, None, None), 41.4, "41 years"),
        (Reading(replace(AGE, range=(1.5, 1.9)), 0, 0, None, None), 1.731, "1.73 years"),
        (Reading(HAIR, 0, 0, (1, 1), None), 1, "blond"),
    ],
)
def test_values_read_as_people_write_them(reading: Reading, value: float, text: str) -> None:
    assert reading.text(value) == text


def test_the_share_unchanged_is_that_of_the_face_without_its_surroundings() -> None:
    before = torch.zeros(4, 3, 64, 64)
    after = before.clone()
    after[1, 0, :, :32] = 0.2  # half of the face, in one channel
    after[2, :, :8] = 1  # above it
    after[3] = 0.05  # everywhere, too little to see
    assert unchanged(before, after).tolist() == pytest.approx([1, 0.5, 1, 1])


def _explained(moved: list[str], *others: Reading) -> Explanation:
    readings = [Reading(Attribute(name), 0, 1, None, 1.0) for name in moved]
    return Explanation((*readings, *others), 0.5)
