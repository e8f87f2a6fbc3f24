"""What a new model takes over from a trained one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_run import write_config
from torch import nn

from fader_demo.estimator import AttributeEstimator
from fader_demo.model import Fader
from fader_demo.pretrained import load_model
from train import export, fit
from train.fit import Run
from train.warm_start import start_estimator, start_fader

SHAPE = {"image_size": 32, "width": 4, "max_width": 8}
ONE, OTHER = [{"name": "Smiling"}, {"name": "Beard"}], [{"name": "Hat"}, {"name": "Smiling"}]


def trained(network: nn.Module) -> nn.Module:
    """With weights and statistics that no new network has."""
    for tensor in network.state_dict().values():
        tensor.copy_(torch.rand(tensor.shape) + 0.5)
    return network.eval()


def save_model(fader: Fader, folder: Path) -> AttributeEstimator:
    """With an estimator that has not learned, which is returned."""
    estimator = AttributeEstimator(fader.schema.to_config(), fader.image_size)
    fader.save_pretrained(folder)
    estimator.save_pretrained(folder / "estimator")
    return estimator


def test_a_model_of_the_same_shape_and_attributes_is_taken_over_whole() -> None:
    source = trained(Fader(ONE, depth=3, **SHAPE))
    fader = Fader(ONE, depth=3, **SHAPE)
    start_fader(fader, source)
    image, values = torch.rand(2, 3, 32, 32), torch.rand(2, 2)
    with torch.no_grad():
        latent = source.encoder(image)
        assert torch.equal(fader.eval().encoder(image), latent)
        assert torch.equal(fader.decode(latent, values), source.decode(latent, values))


def test_what_is_erased_is_measured_anew() -> None:
    fader = Fader(ONE, depth=3, **SHAPE)
    start_fader(fader, trained(Fader(ONE, depth=3, **SHAPE)))
    assert not fader.erasure.label_by_latent.any() and fader.erasure.seen == 0


def test_attributes_are_matched_by_name_and_new_ones_left_as_they_were() -> None:
    source = trained(Fader(ONE, depth=3, **SHAPE))
    fader = Fader(OTHER, depth=3, **SHAPE)
    hat = fader.decoder.upsamples[1].conv.weight[8:10].clone()
    start_fader(fader, source)
    mine, of = fader.decoder.upsamples[1].conv.weight, source.decoder.upsamples[1].conv.weight
    assert torch.equal(mine[:8], of[:8])  # the features'
    assert torch.equal(mine[10:12], of[8:10])  # Smiling's: second here, first there
    assert torch.equal(mine[8:10], hat)
    placement = fader.decoder.placement.weight
    assert torch.equal(placement[:, 2:4], source.decoder.placement.weight[:, :2])


def test_blocks_of_a_deeper_model_are_matched_from_the_picture_inwards() -> None:
    source = trained(Fader(ONE, depth=3, **SHAPE))
    fader = Fader(ONE, depth=4, **SHAPE)
    inner = fader.decoder.upsamples[0].conv.weight.clone()
    start_fader(fader, source)
    for block, of in zip(fader.encoder.blocks[:3], source.encoder.blocks, strict=True):
        assert torch.equal(block[0].weight, of[0].weight)
    for block, of in zip(fader.decoder.upsamples[1:], source.decoder.upsamples, strict=True):
        assert torch.equal(block.conv.weight, of.conv.weight)
    assert torch.equal(fader.decoder.norms[-1].running_mean, source.decoder.norms[-1].running_mean)
    assert torch.equal(fader.decoder.upsamples[0].conv.weight, inner)


def test_a_model_of_other_widths_gives_what_fits() -> None:
    fader = Fader(ONE, image_size=32, width=4, max_width=16, depth=3)
    start_fader(fader, source := trained(Fader(ONE, depth=3, **SHAPE)))
    assert torch.equal(fader.encoder.blocks[1][0].weight, source.encoder.blocks[1][0].weight)


def test_an_estimator_keeps_what_it_sees_and_what_it_says_of_shared_attributes() -> None:
    source = trained(AttributeEstimator(ONE, 32, width=8))
    estimator = AttributeEstimator(OTHER, 32, width=8)
    hat = estimator.head.weight[0].clone()
    start_estimator(estimator, source)
    assert torch.equal(estimator.blocks[3][0].weight, source.blocks[3][0].weight)
    assert torch.equal(estimator.head.weight[1], source.head.weight[0])
    assert torch.equal(estimator.head.weight[0], hat)


def test_a_run_begins_with_the_weights_of_a_model_and_resumes_with_its_own(
    config: dict, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = trained(Fader(config["attributes"], **config["model"]))
    save_model(source, model := tmp_path / "model")
    path = write_config(config, tmp_path)
    arguments = ["--config", str(path), "--data", str(prepared), "--out", str(tmp_path / "run")]
    assert fit.main([*arguments, "--start-from", str(tmp_path / "nothing")]) == 2
    assert "nothing" in capsys.readouterr().err

    run = Run.open(path, prepared, tmp_path / "run", str(model))
    trainer, task, _ = run.fader_trainer()
    for network in (task.fader, task.average):
        assert torch.equal(network.decoder.placement.weight, source.decoder.placement.weight)
    trainer.fit()
    again, task, _ = Run.open(path, prepared, tmp_path / "run", str(model)).fader_trainer()
    assert again.resume() == config["fader"]["trainer"]["steps"]
    assert not torch.equal(task.fader.decoder.placement.weight, source.decoder.placement.weight)


def test_an_encoder_is_trained_for_a_decoder_and_an_estimator_that_stay_as_they_are(
    config: dict, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = Fader(config["attributes"], **config["model"])
    estimator = save_model(source, tmp_path / "source")
    config["fader"]["objective"] |= {"held": "decoder", "guidance": {}}
    config["estimator"]["trainer"] |= {"steps": 0}
    run = ["--config", str(write_config(config, tmp_path)), "--data", str(prepared)]
    assert fit.main([*run, "--out", str(tmp_path / "none")]) == 2
    assert "--start-from" in capsys.readouterr().err

    folder, model = str(tmp_path / "run"), tmp_path / "model"
    assert fit.main([*run, "--out", folder, "--start-from", str(tmp_path / "source")]) == 0
    assert export.main([*run, "--run", folder, "--out", str(model)]) == 0
    made, made_estimator = load_model(str(model))
    for name, weight in estimator.named_parameters():
        assert torch.equal(made_estimator.state_dict()[name], weight)
    for name, tensor in source.decoder.state_dict().items():
        assert torch.equal(made.decoder.state_dict()[name], tensor)
    assert not torch.equal(made.encoder.blocks[0][0].weight, source.encoder.blocks[0][0].weight)
