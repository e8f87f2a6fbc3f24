from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_run import ATTRIBUTES, SIZE, write_config

from fader_demo.attributes import AttributeSchema
from fader_demo.estimator import AttributeEstimator
from fader_demo.model import Fader
from train import evaluate, realism, whole_photos
from train.bootstrap import People
from train.composites import composites
from train.data import PreparedFaces, encode
from train.edits import Edits
from train.estimation import READ_AT, balanced_accuracy
from train.judge import Judge
from train.probe import probe_auc

SCHEMA = AttributeSchema.from_config(ATTRIBUTES)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    Fader(ATTRIBUTES, image_size=SIZE, width=4, max_width=8, depth=3).save_pretrained(
        tmp_path / "m"
    )
    AttributeEstimator(ATTRIBUTES, SIZE, 4).save_pretrained(tmp_path / "m" / "estimator")
    return tmp_path / "m"


def test_one_command_writes_metrics_table_and_sheets(
    model: Path,
    config: dict,
    prepared: Path,
    astronaut: Image.Image,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluate, "EMBEDDED", 4)
    monkeypatch.setattr(realism, "FEWEST_FACES", 2)
    monkeypatch.setattr(whole_photos, "PHOTOS", 2)
    for name in PreparedFaces(prepared, "test", SCHEMA, {"Beard": "not No_Beard"}).ids:
        astronaut.save(tmp_path / name)
    arguments = {
        "--model": model,
        "--config": write_config(config, tmp_path),
        "--data": prepared,
        "--judge": tmp_path / "judge",
        "--split": "test",
        "--photos": tmp_path,
        "--sheets": tmp_path / "sheets",
        "--shown": 3,
    }
    (model / "README.md").write_text("<!-- figures -->\n\n<!-- end of figures -->\n")
    assert evaluate.main([str(word) for pair in arguments.items() for word in pair]) == 0
    assert "40 faces of 20 people (test)" in (model / "README.md").read_text()
    metrics = json.loads((model / "metrics.json").read_text())
    assert (metrics["split"], metrics["faces"], metrics["people"]) == ("test", 40, 20)
    for figure in metrics["reconstruction"].values():
        assert figure["low"] <= figure["mean"] <= figure["high"]
    assert set(metrics["attributes"]) == {"Smiling", "Beard"}
    smiling = metrics["attributes"]["Smiling"]
    assert {"estimator_auc", "judge_auc", "probe_linear", "probe_mlp", "spearman"} <= set(smiling)
    # An untrained judge may see every face on one side; the edit then goes the other way.
    assert {"on_at_end", "on_at_label"} <= set(smiling) or {"off_at_end", "off_at_label"} <= set(
        smiling
    )
    assert set(smiling["identity"]) == {"on", "off"}
    identity = metrics["identity"]
    assert identity.keys() == {
        *("one_person", "two_people", "reconstruction", "threshold", "one_person_same"),
        *("unchanged_rank_correlation", "faces"),
    }
    assert set(smiling["same_person"]) == {"on", "off"}
    assert set(smiling["same_person"]["on"]) == {"mean", "low", "high"}
    assert len(smiling["reliability"]) == len(READ_AT) + 1
    assert -1 <= identity["unchanged_rank_correlation"] <= 1
    assert all(set(moved) == {"Beard"} for moved in smiling["side_effects"].values())
    assert set(smiling["kid"]) == {
        *("on", "reconstruction_on", "untouched_on"),
        *("off", "reconstruction_off", "untouched_off"),
    }
    assert 30 < smiling["kid"]["on"]["n"] + smiling["kid"]["off"]["n"] <= 40
    assert (metrics["whole_photos"]["faces"], metrics["whole_photos"]["not_found"]) == (2, 0)
    assert "swap_at_end" in metrics["whole_photos"]["attributes"]["Beard"]
    assert list(smiling["response"]) == ["-1", "-0.4", "0.2", "0.8", "1.4", "2"]
    output = capsys.readouterr().out
    assert "40 faces of 20 people (test)" in output and output.count("| Beard |") == 3
    assert "swap after paste" in output
    for name in ("decoder", "product"):
        sheet = Image.open(tmp_path / "sheets" / f"{name}.png")
        assert sheet.size == (6 * (SIZE + 1) + 1, 3 * (SIZE + 1) + 1)


def test_an_edit_that_changes_nothing_scores_nothing(model: Path, prepared: Path) -> None:
    """The floor: with a decoder deaf to its code, no face crosses over."""
    fader = Fader.from_pretrained(model).eval()
    judge = Judge(ATTRIBUTES).eval()
    with torch.no_grad():
        fader.decoder.placement.weight.zero_()
        for upsample in fader.decoder.upsamples:
            upsample.conv.weight[upsample.in_channels :] = 0
    faces = PreparedFaces(prepared, "test", SCHEMA, {"Beard": "not No_Beard"})
    faces.values = torch.rand(len(faces), 2)
    edits = Edits(fader, judge, faces, encode(fader, faces))
    assert torch.allclose(edits.scores(0, 2.0), edits.photos, atol=1e-4)
    figures = evaluate.edit_figures(edits, People(faces.people))
    crossed = [v for one in figures.values() for k, v in one.items() if "_at_" in k]
    assert crossed and all((v["mean"] if isinstance(v, dict) else v) == 0 for v in crossed)


def test_side_effects_are_held_against_what_photos_differ_by() -> None:
    """Smiling faces score half a beard more than others, with one and without; edits a fifth."""
    labels = torch.tensor([[0, 0], [0, 0], [0, 1], [1, 0], [1, 1], [1, 1]]).float().repeat(100, 1)
    leaning = torch.tensor([[0.0, 0.5], [0.0, 0.0]])
    along = torch.tensor([[1.0, 0.2], [0.2, 1.0]])

    class Known:
        faces = type("Faces", (), {"schema": SCHEMA, "labels": labels})
        photos = labels + labels @ leaning

        @classmethod
        def scores(cls, index: int, strength: float) -> torch.Tensor:
            return cls.photos + (strength - cls.photos[:, index, None]) * along[index]

    figures = evaluate.edit_figures(Known(), People([str(i) for i in range(600)]))
    ratios = figures["Smiling"]["side_effect_ratio"]
    assert ratios == pytest.approx({"on": 0.2, "off": 0.2, "photos": 0.5}, abs=0.01)


def test_the_response_of_a_slider_is_read_along_its_length() -> None:
    """With scores that are known: one attribute obeys its slider, the other does the reverse."""

    class Known:
        faces = type("Faces", (), {"schema": SCHEMA})
        photos = torch.zeros(2, 2)

        @staticmethod
        def scores(index: int, strength: float) -> torch.Tensor:
            return torch.tensor([[strength, -strength], [strength**3, -strength]])

    figures = evaluate.response_figures(Known(), People(["a", "b"]))
    assert figures["Smiling"]["spearman"]["mean"] == 1
    assert figures["Smiling"]["monotone"]["mean"] == 1
    assert figures["Smiling"]["response"]["2"] == 5
    assert figures["Beard"]["spearman"]["mean"] == -1
    assert figures["Beard"]["monotone"]["mean"] == 0


def test_half_the_faces_cross_where_their_scores_say() -> None:
    """Four faces cross one after the other, between -1, -0.4, 0.2, 0.8, 1.4 and 2."""
    crossings = torch.tensor([0.0, 0.5, 1.0, 3.0])

    class Known:
        faces = type("Faces", (), {"schema": SCHEMA})
        photos = torch.tensor([[0.0, 1.0]]).repeat(4, 1)  # no Smiling yet, and all have Beard

        @staticmethod
        def scores(index: int, strength: float) -> torch.Tensor:
            return (crossings < strength).float()[:, None].repeat(1, 2)

    figures = evaluate.response_figures(Known(), People(["a", "b", "c", "d"]))
    # A quarter have crossed at 0.2 and a half at 0.8.
    assert figures["Smiling"]["half_cross"] == {"on": pytest.approx(0.8), "off": None}
    # On the way down one never had it; at 0.8 half have lost it.
    assert figures["Beard"]["half_cross"] == {"on": None, "off": pytest.approx(0.8)}


def test_reliability_weighs_both_labels_alike() -> None:
    """Of three photos with the label and one without, those below a half are a fair coin."""

    class Faces:
        schema = SCHEMA
        labels = torch.tensor([[0.0, 0], [1, 0], [1, 0], [1, 0]])
        values = torch.tensor([[0.3, -1], [0.3, -1], [0.3, -1], [0.3, -1]])

    shares = evaluate.reliability(Faces())
    assert shares["Smiling"]["reliability"] == [None, None, 0.5, None, None, None]
    assert shares["Beard"]["reliability"] == [0, None, None, None, None, None]


def test_intervals_are_over_people_not_photos() -> None:
    random = np.random.default_rng(0)
    per_person = np.repeat(random.normal(size=25), 40)  # forty equal photos of each
    people = People([str(i // 40) for i in range(1000)]).mean(per_person)
    photos = People([str(i) for i in range(1000)]).mean(per_person)
    assert people["mean"] == photos["mean"]
    assert people["high"] - people["low"] > 3 * (photos["high"] - photos["low"])


def test_faces_that_do_not_count_are_left_out() -> None:
    figure = People(["a", "b", "c"]).mean(torch.tensor([1.0, torch.nan, 1.0]))
    assert figure["mean"] == 1.0


def test_a_figure_of_one_person_is_no_lower_where_others_are_drawn() -> None:
    figure = People(["a", "b", "c"]).mean(torch.tensor([torch.nan, torch.nan, 1.0]))
    assert figure == {"mean": 1.0, "low": 1.0, "high": 1.0}


def test_balanced_accuracy_of_always_no_is_chance() -> None:
    truth = torch.tensor([1.0] + [0.0] * 15)
    assert balanced_accuracy(torch.zeros(16), truth) == 0.5
    assert balanced_accuracy(truth, truth) == 1.0


@pytest.mark.parametrize("hidden", [0, 32])
def test_a_fresh_probe_tells_a_leak_from_none(hidden: int) -> None:
    torch.manual_seed(0)
    labels = (torch.rand(1200, 2) < 0.5).float()
    latents = torch.randn(1200, 4, 2, 2)
    latents[:, 0, 0, 0] += 2 * labels[:, 0]
    auc = probe_auc(
        SCHEMA, (latents[:800], labels[:800]), (latents[800:], labels[800:]), hidden, steps=600
    )
    assert auc["Smiling"] > 0.85
    assert 0.38 < auc["Beard"] < 0.62


def test_a_model_that_is_none_is_named(
    config: dict, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["--config", str(write_config(config, tmp_path)), "--data", str(prepared)]
    assert evaluate.main(["--model", str(tmp_path / "none"), *arguments]) == 2
    assert "none" in capsys.readouterr().err


def test_composites_that_hold_no_face_are_not_kept(
    model: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An untrained decoder draws no face, so there is nothing to keep."""
    monkeypatch.setattr("train.composites.TRIES", 3)
    fader = Fader.from_pretrained(model).eval()
    faces = PreparedFaces(prepared, "train", SCHEMA, {"Beard": "not No_Beard"})
    latents = torch.randn(len(faces), *fader.latent_shape)
    assert composites(fader, faces, latents, 1, seed=0) == []
