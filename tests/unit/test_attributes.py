"""The schema: what people set, what the decoder is told, what a predictor puts out."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch

from fader_demo.attributes import (
    CONTINUOUS_BINS,
    REGION_SIDE,
    Attribute,
    AttributeSchema,
    SchemaError,
)

SMILING = Attribute("Mouth_Slightly_Open")
AGE = Attribute("Age", "continuous", range=(20, 70), slider=(0, 90), default=40, unit="years")
HAIR = Attribute("Hair", "categorical", choices=("black", "blond", "brown"))
SCHEMA = AttributeSchema([SMILING, AGE, HAIR])


def test_a_label_is_the_name_without_underscores_unless_given() -> None:
    assert SMILING.label == "Mouth Slightly Open"
    assert Attribute("Male", label="Masculine").label == "Masculine"


def test_sizes_follow_the_kinds() -> None:
    assert [a.code_size for a in SCHEMA] == [2, 2, 3]
    assert [a.prediction_size for a in SCHEMA] == [1, CONTINUOUS_BINS, 3]
    assert SCHEMA.code_size == 7
    assert SCHEMA.prediction_size == 4 + CONTINUOUS_BINS


def test_the_code_is_the_papers() -> None:
    code = SCHEMA.encode(torch.tensor([[0.0, 20.0, 0.0], [1.0, 70.0, 1.0], [0.25, 45.0, 2.0]]))
    expected = [[1, 0, 1, 0, 1, 0, 0], [0, 1, 0, 1, 0, 1, 0], [0.75, 0.25, 0.5, 0.5, 0, 0, 1]]
    torch.testing.assert_close(code, torch.tensor(expected))


@pytest.mark.parametrize("attribute", [SMILING, AGE], ids=["binary", "continuous"])
def test_beyond_the_labels_the_code_goes_on_in_a_straight_line(attribute: Attribute) -> None:
    low, high = attribute.range
    values = low + (high - low) * torch.linspace(-4, 5, 10)
    steps = attribute.encode(values).diff(dim=0)
    torch.testing.assert_close(steps, torch.tensor([[-1.0, 1.0]]).expand(9, 2))


def test_codes_decode_to_the_values_they_came_from() -> None:
    table = torch.tensor([[0.0, 20.0, 0.0], [1.0, 70.0, 1.0], [-3.0, 88.5, 2.0], [0.3, 33.3, 1.0]])
    torch.testing.assert_close(SCHEMA.decode(SCHEMA.encode(table)), table)


def test_gains_carry_a_move_farther_and_leave_what_did_not_move() -> None:
    schema = AttributeSchema([Attribute("Smiling", gain=(1.5, 2.0)), AGE, HAIR])
    start = torch.tensor([[0.2, 30.0, 0.0]] * 3)
    table = torch.tensor([[0.2, 30.0, 0.0], [0.7, 35.0, 1.0], [-0.2, 20.0, 2.0]])
    told = torch.tensor([[0.2, 30.0, 0.0], [1.2, 35.0, 1.0], [-0.4, 20.0, 2.0]])
    torch.testing.assert_close(schema.amplify(start, table), told)


def test_half_way_to_a_label_the_decoder_has_gone_its_own_half() -> None:
    attribute = Attribute("Smiling", slider=(-1, 2), gain=(1.5, 2.0), halfway=(0.4, 0.7))
    schema = AttributeSchema([attribute])
    start = torch.tensor([[0.0], [0.0], [0.0], [0.2], [1.0], [1.0], [1.2]])
    table = torch.tensor([[0.5], [1.0], [1.5], [0.6], [0.5], [0.0], [1.5]])
    told = torch.tensor([[1.4], [2.0], [3.0], [0.2 + 1.6 * 0.7], [0.4], [-0.5], [1.8]])
    torch.testing.assert_close(schema.amplify(start, table), told)


def test_what_shows_nothing_is_passed_at_once() -> None:
    """By a twentieth of the way to the label, unless the face is beyond it; labels stay labels."""
    schema = AttributeSchema([Attribute("Smiling", gain=(1.5, 2.0), onset=(0.3, 0.4))])
    start = torch.tensor([[0.0], [0.0], [0.0], [0.5], [1.0], [1.0]])
    table = torch.tensor([[0.0], [0.05], [1.0], [0.75], [0.95], [0.0]])
    told = torch.tensor([[0.0], [0.4 + 0.05 * 1.6], [2.0], [1.0], [1 - 0.3 - 0.05 * 1.2], [-0.5]])
    torch.testing.assert_close(schema.amplify(start, table), told)


@pytest.mark.parametrize("halfway", [0.26, 0.5, 0.74])
@pytest.mark.parametrize("onset", [0.0, 0.75])
@pytest.mark.parametrize("start", [-0.5, 0.0, 0.4, 1.0, 1.5])
def test_a_decoder_never_turns_while_its_slider_goes_on(
    halfway: float, onset: float, start: float
) -> None:
    bends = {"halfway": (halfway, halfway), "onset": (onset, onset)}
    schema = AttributeSchema([Attribute("Smiling", gain=(1.5, 2.0), **bends)])
    table = torch.linspace(-1, 2, 61)[:, None]
    told = schema.amplify(torch.full_like(table, start), table).squeeze(1)
    assert (told.diff() >= -1e-6).all()


TOP = ("9" * REGION_SIDE,) * 4 + ("0" * REGION_SIDE,) * 12
LEFT = ("9" * 4 + "0" * 12,) * REGION_SIDE


def test_what_may_change_is_where_the_moved_attributes_show() -> None:
    schema = AttributeSchema(
        [Attribute("Hat", region=TOP), Attribute("Scar", region=LEFT), Attribute("Young")]
    )
    start = torch.zeros(5, 3)
    table = torch.tensor([[0, 0, 0], [1, 0, 0], [0, -1, 0], [1, 1, 0], [1, 0, 0.1]])
    regions = schema.region(start, table)
    assert regions.shape == (5, 1, REGION_SIDE, REGION_SIDE)
    assert regions.mean((1, 2, 3)).tolist() == pytest.approx([0, 1 / 4, 1 / 4, 7 / 16, 1])
    assert regions[1, 0, :4].min() == 1 and regions[1, 0, 4:].max() == 0


@pytest.mark.parametrize(
    "region",
    [TOP[:-1], [row[:-1] for row in TOP], ["x" * REGION_SIDE] * REGION_SIDE, [9], "9" * 16],
)
def test_a_region_is_a_square_of_digits(region: Any) -> None:
    with pytest.raises(SchemaError, match="Hat: region"):
        Attribute("Hat", region=region)


def test_a_gain_carries_no_face_farther_than_from_the_far_label() -> None:
    schema = AttributeSchema([Attribute("Smiling", slider=(-0.2, 1.25), gain=(1.5, 2.0))])
    start = torch.tensor([[0.0], [-0.2], [1.0], [1.25], [1.25]])
    table = torch.tensor([[1.25], [1.25], [-0.2], [-0.2], [1.25]])
    told = torch.tensor([[2.5], [2.5], [-0.8], [-0.8], [1.25]])
    torch.testing.assert_close(schema.amplify(start, table), told)


@pytest.mark.parametrize(
    "setting",
    [
        {"gain": (0.0, 1.0)},
        {"gain": (1.0, math.nan)},
        {"gain": 2.0},
        {"gain": (2.0, 2.0), "kind": "categorical", "choices": ("black", "blond")},
        {"halfway": (0.25, 0.5)},
        {"halfway": (0.5, 0.8)},
        {"halfway": (0.5, 0.7), "kind": "categorical", "choices": ("black", "blond")},
        {"onset": (-0.1, 0.0)},
        {"onset": (0.0, 0.8)},
        {"onset": (0.1, 0.1), "kind": "continuous"},
    ],
)
def test_gain_halfway_and_onset_are_pairs_within_bounds_of_what_has_strengths(
    setting: dict[str, Any],
) -> None:
    with pytest.raises(SchemaError, match="Smiling"):
        Attribute("Smiling", **setting)


def test_a_confident_prediction_reads_as_its_target() -> None:
    table = torch.tensor([[0.0, 20.0, 0.0], [1.0, 70.0, 1.0], [0.5, 45.0, 2.0], [0.9, 33.3, 0.0]])
    target = SCHEMA.target(table)
    logits = target.clamp(1e-7, 1).log()
    logits[:, 0] = target[:, 0].clamp(1e-6, 1 - 1e-6).logit()
    torch.testing.assert_close(SCHEMA.read(logits), table, rtol=1e-4, atol=1e-4)


def test_targets_are_distributions_even_beyond_the_labels() -> None:
    _, age, hair = SCHEMA.split_prediction(SCHEMA.target(torch.tensor([[3.0, 95.0, 2.0]])))
    torch.testing.assert_close(age, torch.eye(CONTINUOUS_BINS)[-1:])
    torch.testing.assert_close(hair, torch.tensor([[0.0, 0.0, 1.0]]))
    assert SCHEMA.target(torch.tensor([[3.0, 0.0, 0.0]]))[0, 0] == 1


def test_values_not_named_take_their_defaults() -> None:
    assert SCHEMA.table({"Hair": "brown"}).tolist() == [[0.0, 40.0, 2.0]]
    assert SCHEMA.values(torch.tensor([1.0, 50.0, 1.0])) == {
        "Mouth_Slightly_Open": 1.0,
        "Age": 50.0,
        "Hair": 1.0,
    }


def test_clamping_stops_at_the_sliders_ends() -> None:
    assert AGE.clamp(1e9) == 90
    assert AGE.clamp(-1e9) == 0
    assert AGE.clamp(33) == 33
    assert HAIR.clamp("blond") == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, "0.5", "", None, [], 10**400])
@pytest.mark.parametrize("name", ["Mouth_Slightly_Open", "Age", "Hair"])
def test_a_value_that_is_no_number_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(SchemaError, match=name):
        SCHEMA.numbers({name: value})


@pytest.mark.parametrize("value", [-1, 3, 0.5, "green"])
def test_a_choice_that_does_not_exist_is_refused(value: Any) -> None:
    with pytest.raises(SchemaError, match="Hair has no choice"):
        HAIR.number(value)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(SchemaError, match=r"no attribute 'Smile'; .* Mouth_Slightly_Open, Age"):
        SCHEMA.table({"Smile": 1.0})


def test_a_schema_survives_json() -> None:
    again = AttributeSchema.from_config(json.loads(json.dumps(SCHEMA.to_config())))
    assert again == SCHEMA
    assert hash(again) == hash(SCHEMA)
    assert again["Age"] == AGE


@pytest.mark.parametrize(
    "entry",
    [
        "Smiling",
        {},
        {"name": ""},
        {"name": 3},
        {"name": "A", "kind": "ordinal"},
        {"name": "A", "kind": ["binary"]},
        {"name": "A", "label": 1},
        {"name": "A", "colour": "red"},
        {"name": "A", "range": [0, 2]},
        {"name": "A", "slider": [1, 0]},
        {"name": "A", "slider": [0, math.nan]},
        {"name": "A", "slider": "01"},
        {"name": "A", "slider": 2},
        {"name": "A", "default": 5},
        {"name": "A", "default": "0"},
        {"name": "A", "kind": "continuous", "range": [5]},
        {"name": "A", "kind": "categorical"},
        {"name": "A", "kind": "categorical", "choices": ["a", "a"]},
        {"name": "A", "kind": "categorical", "choices": "ab"},
        {"name": "A", "kind": "categorical", "choices": ["a", "b"], "default": 2},
        {"name": "A", "kind": "categorical", "choices": ["a", "b"], "default": 0.5},
    ],
)
def test_a_schema_that_cannot_be_right_is_refused(entry: Any) -> None:
    with pytest.raises(SchemaError):
        AttributeSchema.from_config([entry])


def test_names_are_needed_and_differ() -> None:
    with pytest.raises(SchemaError, match="at least one"):
        AttributeSchema([])
    with pytest.raises(SchemaError, match="share a name"):
        AttributeSchema([SMILING, SMILING])


def test_a_schema_moves_to_a_device_and_stays_where_it_was() -> None:
    schema = AttributeSchema([Attribute("Smiling"), AGE])
    there = schema.to(torch.device("meta"))
    assert there == schema
    assert there.binary.device.type == "meta"
    assert schema.binary.tolist() == [True, False]
