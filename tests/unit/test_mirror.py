"""A decoder draws a face and its mirror image alike after it has learned their mean."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from small_run import ATTRIBUTES, SIZE, write_config
from torch import Tensor

from fader_demo.attributes import Attribute, AttributeSchema
from fader_demo.inversion import fit as fit_latent
from fader_demo.model import Fader
from fader_demo.pretrained import load_model
from train import export, fit, mirror
from train.data import PreparedFaces
from train.fit import Run
from train.mirror import (
    MIRRORED,
    MOVED,
    MirrorSettings,
    MirrorTask,
    View,
    Viewed,
    ViewSampler,
    fitted_views,
    mean_over,
    random_moves,
)
from train.trainer import CHECKPOINT, Trainer, TrainerSettings


@pytest.fixture
def faces(prepared: Path) -> PreparedFaces:
    schema = AttributeSchema.from_config(ATTRIBUTES)
    return PreparedFaces(prepared, "train", schema, {"Beard": "not No_Beard"}).thinned(48)


@pytest.fixture
def fader() -> Fader:
    torch.manual_seed(0)
    return Fader(ATTRIBUTES, image_size=SIZE, width=8, max_width=16, depth=3).eval()


def settings(steps: int) -> MirrorSettings:
    trainer = TrainerSettings(steps=steps, evaluate_every=10 * steps)
    return MirrorSettings(faces=48, batch_size=8, learning_rate=3e-3, trainer=trainer)


@pytest.fixture
def mirrored(config: dict) -> dict:
    """Settings of a run that goes on to mirror images."""
    config["mirror"] = {
        "faces": 24,
        "batch_size": 4,
        "trainer": {"steps": 6, "log_every": 2, "evaluate_every": 100},
    }
    return config


def command(config: dict, prepared: Path, folder: Path, *more: str) -> list[str]:
    """Arguments of train.fit, but for --out."""
    return ["--config", str(write_config(config, folder)), "--data", str(prepared), *more]


def disagreement(fader: Fader, latents: Tensor, told: Tensor) -> float:
    """Between what is drawn of faces and of their mirror images: the mean square."""
    with torch.no_grad():
        of_faces, of_mirrored = (fader.decode(latent, told) for latent in latents)
    return (of_faces - of_mirrored.flip(3)).square().mean().item()


@pytest.mark.parametrize("view", [*MIRRORED, *MOVED])
def test_a_view_undone_is_the_picture_where_it_was_seen(view: View) -> None:
    pictures = 1 + torch.rand(2, 3, 32, 32)
    undone = view.undone(view.of(pictures))
    seen = undone != 0
    assert torch.equal(undone[seen], pictures[seen])
    assert seen.float().mean() == (1 if view in MIRRORED else pytest.approx(31**2 / 32**2))


def test_a_face_is_moved_and_turned_round() -> None:
    picture = torch.zeros(1, 1, 4, 4)
    picture[0, 0, 1, 1] = 1
    assert View(0.25, 0.25).of(picture)[0, 0, 2, 2] == 1
    assert View(0.25, 0.25, mirrored=True).of(picture)[0, 0, 2, 1] == 1


def test_the_mean_over_views_is_of_pictures_as_they_lay() -> None:
    pictures = torch.rand(2, 3, 64, 64)
    views = (*MIRRORED, *MOVED)
    assert torch.allclose(mean_over(views, torch.stack([v.of(pictures) for v in views])), pictures)
    drawn = torch.randn(2, 6, 3, 4, 4)
    assert torch.allclose(mean_over(MIRRORED, drawn), (drawn[0] + drawn[1].flip(3)) / 2)


def test_only_the_edits_of_some_attributes_are_the_mean_over_moved_views(
    fader: Fader, faces: PreparedFaces
) -> None:
    wanted = dataclasses.replace(settings(1), moved=["Beard", "Not_An_Attribute"])
    views = wanted.views(fader.schema)
    assert views == (*MIRRORED, *MOVED)
    latents, values = torch.randn(len(views), 3, *fader.latent_shape), faces.values[:3]
    smile, beard = (fader.schema.names.index(name) for name in ("Smiling", "Beard"))
    told = values.clone()
    told[0, smile] = 1 - told[0, smile]
    told[1, beard] = 1 - told[1, beard]

    def drawn(told: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.stack([fader.decode(latent, told) for latent in latents])

    task = MirrorTask(fader, wanted, Accelerator())
    edits = edits_of(task, faces, latents, values, told)
    of_pair = mean_over(MIRRORED, drawn(told)[:2])
    assert torch.allclose(edits[[0, 2]], of_pair[[0, 2]], atol=1e-5)
    change = mean_over(views, drawn(told) - drawn(values))
    expected = mean_over(MIRRORED, drawn(values)[:2]) + change
    assert torch.allclose(edits[1], expected[1], atol=1e-5)
    assert not torch.allclose(edits[1], of_pair[1], atol=1e-3)


def edits_of(
    task: MirrorTask, faces: PreparedFaces, latents: Tensor, values: Tensor, told: Tensor
) -> Tensor:
    """The mean edits of faces; those of their mirror images must be these, turned round."""
    shown = Viewed(latents, values, faces.batch(torch.arange(1)).images)
    edits, mirrored = task.mean_edits(shown, told).chunk(2)
    assert torch.equal(edits, mirrored.flip(3))
    return edits


def drawn_mean(fader: Fader, latents: Tensor, values: Tensor) -> Tensor:
    """What a decoder draws of a face and of its mirror image, in the mean."""
    with torch.no_grad():
        return mean_over(MIRRORED, torch.stack([fader.decode(z, values) for z in latents]))


def test_an_attribute_is_put_on_as_on_faces_with_another(
    fader: Fader, faces: PreparedFaces
) -> None:
    put_on_as = {"Beard": {"Smiling": (0.8, 1.0), "Not_An_Attribute": (0.0, 0.0)}, "None": {}}
    task = MirrorTask(fader, dataclasses.replace(settings(1), put_on_as=put_on_as), Accelerator())
    smile, beard = (fader.schema.names.index(name) for name in ("Smiling", "Beard"))
    latents = torch.randn(2, 5, *fader.latent_shape)
    values, told = torch.empty(5, 2), torch.empty(5, 2)
    values[:, smile] = torch.tensor([0.2, 0.9, 0.2, 0.2, 0.2])
    values[:, beard] = torch.tensor([0.1, 0.1, 0.9, 0.1, 0.1])
    told[:, smile] = torch.tensor([0.2, 0.9, 0.2, 0.4, 0.4])
    told[:, beard] = torch.tensor([0.7, 0.7, 0.3, 0.7, 0.1])
    as_smiling = torch.tensor([0.8, 0.9, 0.2, 0.8, 0.4])

    def drawn(smiling: Tensor, bearded: Tensor) -> Tensor:
        table = torch.empty(5, 2)
        table[:, smile], table[:, beard] = smiling, bearded
        return drawn_mean(fader, latents, table)

    edits = edits_of(task, faces, latents, values, told)
    before, after = values[:, beard], told[:, beard]
    change = drawn(as_smiling, after) - drawn(as_smiling, before)
    assert torch.allclose(edits, drawn(told[:, smile], before) + change, atol=1e-5)
    otherwise = (edits - drawn(told[:, smile], after)).abs().amax((1, 2, 3)) > 1e-4
    assert otherwise.tolist() == [True, False, False, True, False]


def test_an_attribute_is_put_on_a_part_of_the_way_by_another(
    fader: Fader, faces: PreparedFaces
) -> None:
    parts = {"Beard": {"Smiling": (1.0, 0.6), "Not_An_Attribute": (0.0, 0.0)}, "None": {}}
    task = MirrorTask(fader, dataclasses.replace(settings(1), put_on_part=parts), Accelerator())
    smile, beard = (fader.schema.names.index(name) for name in ("Smiling", "Beard"))
    latents = torch.randn(2, 5, *fader.latent_shape)
    values, told = torch.empty(5, 2), torch.empty(5, 2)
    values[:, smile] = torch.tensor([0.0, 1.0, 0.5, 1.0, 1.0])
    values[:, beard] = torch.tensor([0.2, 0.2, 0.2, 0.2, 0.8])
    told[:, smile] = torch.tensor([0.0, 1.0, 0.5, 0.0, 1.0])
    told[:, beard] = torch.tensor([1.2, 1.2, 1.2, 1.2, 0.3])
    drawn_as = told.clone()  # the third half way between, the last is taken off
    drawn_as[:, beard] = torch.tensor([1.2, 0.8, 1.0, 1.2, 0.3])
    edits = edits_of(task, faces, latents, values, told)
    assert torch.allclose(edits, drawn_mean(fader, latents, drawn_as), atol=1e-5)


def test_no_moved_view_is_fitted_for_a_model_without_those_attributes(fader: Fader) -> None:
    assert settings(1).views(fader.schema) == MIRRORED
    other = dataclasses.replace(settings(1), moved=["Blond_Hair"])
    assert other.views(fader.schema) == MIRRORED


def test_moves_stay_between_start_and_the_ends_of_sliders() -> None:
    torch.manual_seed(0)
    schema = AttributeSchema(
        [
            Attribute("Smiling", slider=(-0.5, 1.5)),
            Attribute("Age", kind="continuous", range=(20, 70), slider=(10, 80), default=40),
            Attribute("Hair", kind="categorical", choices=("brown", "black", "grey")),
        ]
    )
    values = torch.tensor([[0.1, 60.0, 1.0]]).repeat(4000, 1)
    told = random_moves(schema, values)
    moved = told != values
    assert 0.95 < moved[:, :2].any(1).float().mean() + moved[:, 2].float().mean() < 1.4
    assert 0.05 < (moved.sum(1) > 1).float().mean() < 0.35
    low, high = told.amin(0), told.amax(0)
    assert -0.5 <= low[0] < -0.2 and 1.4 < high[0] <= 1.5
    assert 10 <= low[1] < 15 and 75 < high[1] <= 80
    assert set(told[:, 2].tolist()) == {0.0, 1.0, 2.0}
    put_on = (told[:, 0] > 0.1).float().mean() / moved[:, 0].float().mean()
    assert 0.85 < put_on < 0.91  # the farther end, but for NEARER_END
    of_way = (told[:, 0] - 0.1)[told[:, 0] > 0.1] / 1.4
    assert of_way.mean() == pytest.approx(2 / 3, abs=0.03)


def test_what_is_fitted_are_latents_of_faces_in_every_view_less_their_labels(
    fader: Fader, faces: PreparedFaces
) -> None:
    views = (*MIRRORED, MOVED[0])
    seen = fitted_views(fader, faces, views)
    assert seen.shape == (3, 48, *fader.latent_shape)
    batch = faces.batch(torch.arange(2))
    code = fader.schema.encode(batch.values)
    for latents, view in zip(seen, views, strict=True):
        fitted = fit_latent(fader, view.of(batch.images), batch.values)
        with torch.no_grad():
            assert torch.allclose(latents[:2], fader.fitted_erasure(fitted, code), atol=1e-4)
    flat = seen.flatten(2).flatten(0, 1)
    labels = faces.labels.repeat(3, 1)
    covariance = (flat - flat.mean(0)).T @ (labels - labels.mean(0)) / len(flat)
    assert covariance.abs().max() < 0.01 * flat.std()


def test_edits_of_a_face_and_of_its_mirror_image_come_to_agree(
    fader: Fader, faces: PreparedFaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with torch.no_grad():  # bold pictures, which are none of the photos
        fader.decoder.upsamples[-1].conv.weight.mul_(10)
    monkeypatch.setattr(mirror, "RECONSTRUCTION", 0)
    latents = fitted_views(fader, faces, MIRRORED)
    before = {name: tensor.clone() for name, tensor in fader.state_dict().items()}
    told = 1 - faces.values
    with torch.no_grad():
        mean = mean_over(MIRRORED, torch.stack([fader.decode(z, told) for z in latents]))
    wanted = settings(steps=200)
    task = MirrorTask(fader, wanted, Accelerator())
    trainer = Trainer(
        task, ViewSampler(faces, latents, wanted), tmp_path, wanted.trainer, Accelerator()
    )
    assert trainer.fit() == 200
    learned = task.averaged_fader()
    assert disagreement(learned, latents, told) < 0.5 * disagreement(fader, latents, told)
    with torch.no_grad():
        drawn, drawn_before = (
            torch.stack([each.decode(z, told) for z in latents]) for each in (learned, fader)
        )
    mean = torch.stack([mean, mean.flip(3)])  # either the right way round
    assert (drawn - mean).square().mean() < (drawn_before - mean).square().mean()
    after = learned.state_dict()
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    assert changed and all(name.startswith("decoder.") for name in changed)
    assert not any("running" in name or "tracked" in name for name in changed)
    assert all(torch.equal(tensor, before[name]) for name, tensor in fader.state_dict().items())


def test_learning_rates_rise_at_once_and_fall_to_little() -> None:
    rate = settings(steps=1000).learning_rate_at
    assert rate(0) == pytest.approx(3e-3 / 20)
    assert rate(20) == rate(299) == 3e-3
    assert rate(650) == pytest.approx(3e-3 * (1 - 0.97 / 2))
    assert rate(1000) == pytest.approx(3e-3 * 0.03)


def test_a_run_that_was_stopped_goes_on_exactly_and_fits_no_latent_again(
    mirrored: dict, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_config(mirrored, tmp_path)
    assert Run.open(path, prepared, tmp_path / "whole").fit()
    run = Run.open(path, prepared, tmp_path / "parted")
    run.config = dataclasses.replace(run.config, mirror=MirrorSettings())
    assert run.fit()
    run = Run.open(path, prepared, tmp_path / "parted")
    estimator, task = run.estimator_trainer()
    estimator.resume()
    run.read_values(task.averaged_estimator)
    trained, task, averaged = run.fader_trainer()
    trained.resume()
    interrupted, _ = run.mirror_trainer(task, averaged)
    interrupted.settings = dataclasses.replace(interrupted.settings, evaluate_every=2)
    interrupted.callbacks = [lambda step, writer: os.kill(os.getpid(), signal.SIGTERM)]
    assert interrupted.fit() == 2

    def again(*arguments: object) -> None:
        raise AssertionError("latents are fitted again")

    monkeypatch.setattr(fit, "fitted_views", again)
    assert Run.open(path, prepared, tmp_path / "parted").fit()
    one, other = (
        load_file(tmp_path / each / "mirror" / CHECKPOINT) for each in ("whole", "parted")
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_export_takes_the_decoder_that_learned_from_mirror_images(
    mirrored: dict, prepared: Path, tmp_path: Path
) -> None:
    arguments, run = command(mirrored, prepared, tmp_path), str(tmp_path / "run")
    assert fit.main([*arguments, "--out", run]) == 0
    assert export.main([*arguments, "--run", run, "--out", str(tmp_path / "model")]) == 0
    made, _ = load_model(str(tmp_path / "model"))
    learned, trained = (
        load_file(tmp_path / "run" / part / CHECKPOINT) for part in ("mirror", "fader")
    )
    for name, weight in made.decoder.named_parameters():
        assert torch.equal(weight, learned[f"average.module.{name}"])
        assert not torch.equal(weight, trained[f"average.decoder.{name}"])
    for name, weight in made.encoder.named_parameters():
        assert torch.equal(weight, trained[f"average.encoder.{name}"])


def test_a_trained_model_learns_from_mirror_images_alone(
    mirrored: dict, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command(mirrored, prepared, tmp_path)
    assert fit.main([*arguments, "--out", str(tmp_path / "first")]) == 0
    source = str(tmp_path / "source")
    assert export.main([*arguments, "--run", str(tmp_path / "first"), "--out", source]) == 0

    for part in ("fader", "estimator"):
        mirrored[part]["trainer"]["steps"] = 0
    arguments, run = command(mirrored, prepared, tmp_path), str(tmp_path / "run")
    capsys.readouterr()
    assert fit.main([*arguments, "--out", str(tmp_path / "none")]) == 2
    assert "--start-from" in capsys.readouterr().err
    assert fit.main([*arguments, "--out", run, "--start-from", source]) == 0
    assert export.main([*arguments, "--run", run, "--out", str(tmp_path / "model")]) == 0
    (made, _), (before, _) = load_model(str(tmp_path / "model")), load_model(source)
    of = before.state_dict()
    for name, weight in made.named_parameters():
        assert torch.equal(weight, of[name]) == name.startswith("encoder."), name


def test_without_a_trained_fader_there_is_nothing_to_export(
    mirrored: dict, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run.open(write_config(mirrored, tmp_path), prepared, tmp_path / "run")
    run.estimator_trainer()[0].fit()
    arguments = command(mirrored, prepared, tmp_path, "--run", str(tmp_path / "run"))
    assert export.main([*arguments, "--out", str(tmp_path / "model")]) == 2
    assert "no trained Fader" in capsys.readouterr().err
    assert not (tmp_path / "model").exists()
