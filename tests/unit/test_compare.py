from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from small_run import ATTRIBUTES, SIZE, write_config

from fader_demo.estimator import AttributeEstimator
from fader_demo.model import Fader
from train import compare, realism
from train.config import build

ROOT = Path(__file__).parents[2]
VARIANTS = [
    {"name": "recipe"},
    {"name": "half the size", "settings": {"model": {"image_size": SIZE // 2, "depth": 2}}},
    {
        "name": "no step farther",
        "settings": {"fader": {"trainer": {"steps": 0}}},
        "departures": {"start": "half the size"},
    },
    {
        "name": "departed",
        "departures": {
            "sampling": "plain",
            "erasure": False,
            "values": "labels",
            "loss": "features",
            "latent": "raw",
            "restart": 2,
            "discriminators": 2,
            "attribute_weights": {"Beard": 0.5},
            "distance_correlation": 1.0,
        },
    },
]


@pytest.fixture
def arguments(
    config: dict, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Of a comparison of the small run's recipes, a few steps each."""
    monkeypatch.setattr(realism, "FEWEST_FACES", 2)
    torch.manual_seed(0)
    model = tmp_path / "model"
    Fader(ATTRIBUTES, image_size=SIZE, width=4, max_width=8, depth=3).save_pretrained(model)
    AttributeEstimator(ATTRIBUTES, SIZE, 4).save_pretrained(model / "estimator")
    write_config(config, tmp_path)
    comparison = {
        "base": "config.yaml",
        "budget": {"fader": {"trainer": {"steps": 6}}},
        "variants": VARIANTS,
    }
    (tmp_path / "comparison.yaml").write_text(yaml.safe_dump(comparison))
    pairs = {
        "--config": tmp_path / "comparison.yaml",
        "--data": prepared,
        "--model": model,
        "--out": tmp_path / "runs",
        "--judge": tmp_path / "judge",
    }
    return [str(word) for pair in pairs.items() for word in pair]


def test_each_variant_is_trained_measured_and_tabled(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert compare.main([*arguments, "--only", "recipe", "departed"]) == 0
    table = capsys.readouterr().out
    assert "| recipe |" in table and "| departed |" in table and "| half the size |" not in table
    figures = json.loads((tmp_path / "runs" / "recipe" / "figures.json").read_text())
    assert figures["images"] == 6 * 8
    assert set(figures["probe_mlp"]) == set(figures["swap_at_end"]) == {"Smiling", "Beard"}
    # What has been measured is not measured again, though its weights be gone.
    for variant in ("recipe", "departed"):
        (tmp_path / "runs" / variant / "fader" / "checkpoint.safetensors").unlink()
    assert compare.main([*arguments, "--only", "recipe", "departed"]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == table.splitlines()[-2:]


def test_a_variant_begins_with_the_weights_of_another(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    names = ["half the size", "no step farther"]
    assert compare.main([*arguments, "--only", names[1]]) == 2
    assert "begins with half the size" in capsys.readouterr().err
    assert compare.main([*arguments, "--only", *names]) == 0
    first, then = (Fader.from_pretrained(tmp_path / "runs" / name / "model") for name in names)
    assert (first.image_size, then.image_size) == (SIZE // 2, SIZE)
    weights, start = then.encoder.blocks[0].state_dict(), first.encoder.blocks[0].state_dict()
    assert all(torch.equal(weights[name], start[name]) for name in start)


def test_a_variant_that_is_none_is_named(
    arguments: list[str], capsys: pytest.CaptureFixture
) -> None:
    assert compare.main([*arguments, "--only", "alchemy"]) == 2
    assert "alchemy" in capsys.readouterr().err


@pytest.mark.parametrize("name, sizes", [("comparison", {64}), ("comparison-128", {64, 128})])
def test_the_shipped_comparisons_can_be_built(name: str, sizes: set[int]) -> None:
    path = ROOT / "train" / f"{name}.yaml"
    comparison = build(compare.Comparison, yaml.safe_load(path.read_text()))
    variants = [build(compare.Variant, each) for each in comparison.variants]
    assert len({variant.name for variant in variants}) == len(variants) > 1
    configs = [comparison.config(variant, path.parent) for variant in variants]
    assert {config.new_fader().image_size for config in configs} == sizes
    for before, variant in enumerate(variants):
        start = variant.departures.start
        assert not start or start in {each.name for each in variants[:before]}


def test_an_attribute_of_weight_nothing_teaches_nothing() -> None:
    torch.manual_seed(0)
    discriminator = torch.nn.Linear(4, 2)
    several = compare.Discriminators([discriminator], torch.tensor([2.0, 0.0]))
    latent = torch.randn(8, 4, requires_grad=True)
    logits = several(latent)
    assert torch.equal(logits, discriminator(latent))
    logits.mean().backward()
    weighted, own = latent.grad, discriminator.weight[0] / 8
    assert weighted is not None
    assert torch.allclose(weighted, own.expand(8, 4))  # 2 x a half of the mean over two


def test_distance_correlation_tells_dependence_that_no_line_shows() -> None:
    torch.manual_seed(0)
    x = torch.randn(400, 1)
    other = compare.distance_correlation(x, torch.randn(400, 1))
    squared = compare.distance_correlation(x, x.square())
    itself = compare.distance_correlation(x, 3 * x)
    assert other < 0.15 < 0.35 < squared < itself
    assert itself == pytest.approx(1, abs=1e-3)
