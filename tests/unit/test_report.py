"""The figures as they are told: in the model's card, and in the README, which shows the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from train.report import report, update

ROOT = Path(__file__).parents[2]
MODEL = ROOT / "assets" / "faces"


@pytest.fixture(scope="module")
def metrics() -> dict:
    return json.loads((MODEL / "metrics.json").read_text())


@pytest.mark.parametrize("told", [ROOT / "README.md", MODEL / "README.md"], ids=["readme", "card"])
def test_the_figures_told_are_those_that_were_measured(told: Path, metrics: dict) -> None:
    assert f"<!-- figures -->\n{report(metrics)}\n<!-- end of figures -->" in told.read_text()


def test_a_card_gets_the_figures_in_their_place_alone(tmp_path: Path, metrics: dict) -> None:
    card = tmp_path / "README.md"
    update(card, metrics)
    assert not card.exists()
    card.write_text("# A model\n\nNo place.\n")
    update(card, metrics)
    assert card.read_text() == "# A model\n\nNo place.\n"
    card.write_text("# A model\n\n<!-- figures -->\nold\n<!-- end of figures -->\n\n## Limits\n")
    update(card, metrics)
    before, after = card.read_text().split(report(metrics))
    assert (before, after) == (
        "# A model\n\n<!-- figures -->\n",
        "\n<!-- end of figures -->\n\n## Limits\n",
    )


def test_large_side_effects_are_told_worst_first(metrics: dict) -> None:
    told = report(metrics).splitlines()[-1]
    shifts = [float(each.rstrip(".").split()[-1]) for each in told.split(";")]
    assert shifts and sorted(shifts, key=abs, reverse=True) == shifts
    assert min(map(abs, shifts)) >= 0.5
