"""Checkpoints, resume and what goes wrong, on the real tasks at toy size."""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from small_run import SIZE, write_config

from fader_demo.estimator import AttributeEstimator
from fader_demo.model import Fader
from train import data, export, files, fit, trainer
from train.critic import PhotoCritic
from train.fit import Run

ROOT = Path(__file__).parents[2]


def checkpoint(run: Path, part: str = "fader") -> dict[str, torch.Tensor]:
    return load_file(run / part / trainer.CHECKPOINT)


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def started(config: Path, data: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "train.fit", "--config", config, "--data", data, "--out", out]
    return subprocess.Popen(
        list(map(str, command)), cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def wait_for(path: Path, process: subprocess.Popen) -> None:
    for _ in range(1200):
        if path.exists():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    raise AssertionError(f"{path} did not appear")


@pytest.fixture(scope="module")
def finished_run(
    small_config: dict, prepared: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("finished")
    assert Run.open(write_config(small_config, folder), prepared, folder / "whole").fit()
    return folder


@pytest.fixture
def whole_run(finished_run: Path, tmp_path: Path) -> Path:
    """A finished run's folder, for one test to do with as it likes; beside it, the settings."""
    shutil.copytree(finished_run, tmp_path, dirs_exist_ok=True)
    return tmp_path / "whole"


@pytest.mark.parametrize("stop_at", [1, 7])
def test_an_interrupted_run_ends_with_the_same_weights(
    whole_run: Path, prepared: Path, tmp_path: Path, stop_at: int
) -> None:
    parted = tmp_path / "parted"
    run = Run.open(tmp_path / "config.yaml", prepared, parted)
    estimator, task = run.estimator_trainer()
    estimator.fit()
    run.read_values(task.averaged_estimator)
    interrupted, _, _ = run.fader_trainer()
    interrupted.settings = dataclasses.replace(interrupted.settings, evaluate_every=stop_at)
    interrupted.callbacks = [lambda step, writer: os.kill(os.getpid(), signal.SIGTERM)]
    assert interrupted.fit() == stop_at
    assert not equal(checkpoint(parted), checkpoint(whole_run))
    assert Run.open(tmp_path / "config.yaml", prepared, parted).fit()
    assert equal(checkpoint(parted), checkpoint(whole_run))


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])  # above: SIGTERM
def test_a_stopped_process_goes_on_where_it_was(
    config: dict, prepared: Path, tmp_path: Path, sign: signal.Signals
) -> None:
    config["fader"]["trainer"] |= {"steps": 100_000, "checkpoint_minutes": 0.001}
    path, run = write_config(config, tmp_path), tmp_path / "run"
    process = started(path, prepared, run)
    wait_for(run / "fader" / trainer.CHECKPOINT, process)
    os.kill(process.pid, sign)
    output = process.communicate(timeout=60)
    if sign != signal.SIGKILL:
        assert process.returncode == 0, output
        assert "Run the same command again" in output[0]
    resumed = Run.open(path, prepared, run).fader_trainer()[0]
    assert 0 < resumed.resume() < 100_000


def test_a_loss_that_is_not_finite_stops_and_names_the_checkpoint(
    config: dict, prepared: Path, tmp_path: Path
) -> None:
    path, run = write_config(config, tmp_path), tmp_path / "run"
    Run.open(path, prepared, run).fit()
    before = checkpoint(run)
    broken, task, _ = Run.open(path, prepared, run).fader_trainer()
    broken.settings = dataclasses.replace(broken.settings, steps=40)
    task.fader.register_forward_hook(
        lambda module, inputs, outputs: (outputs[0], outputs[1] * torch.nan, *outputs[2:])
    )
    with pytest.raises(trainer.TrainingDiverged, match=r"last good checkpoint is .*checkpoint"):
        broken.fit()
    assert equal(checkpoint(run), before)


def test_a_full_disk_keeps_the_old_checkpoint(
    whole_run: Path,
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    before = checkpoint(whole_run)
    run = Run.open(tmp_path / "config.yaml", prepared, whole_run).fader_trainer()[0]

    def full(tensors: object, path: str, metadata: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "save_file", full)
    run.save(99)
    assert "No space left" in capsys.readouterr().out
    assert equal(checkpoint(whole_run), before)
    assert [path.name for path in (whole_run / "fader").glob("*.new")] == []


def test_what_was_read_of_the_faces_is_not_read_again(
    whole_run: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, predict = [], data.predict

    def counted(network: torch.nn.Module, faces: data.PreparedFaces, *rest: int) -> torch.Tensor:
        read.append(faces.split)
        return predict(network, faces, *rest)

    monkeypatch.setattr(data, "predict", counted)

    def values(run: Run) -> torch.Tensor:
        _, task = run.estimator_trainer()
        task.averaged_estimator.load_state_dict(estimator)
        run.read_values(task.averaged_estimator)
        return run.train.values

    run = Run.open(tmp_path / "config.yaml", prepared, whole_run)
    trained, task = run.estimator_trainer()
    trained.resume()
    estimator = {k: v.clone() for k, v in task.averaged_estimator.state_dict().items()}
    kept = values(run)
    assert read == []
    assert not torch.equal(kept, run.train.labels)
    fewer = Run.open(tmp_path / "config.yaml", prepared, whole_run)
    fewer.train = fewer.train.thinned(20)  # other faces
    assert len(values(fewer)) == 20
    assert read == ["train", "validation"]
    estimator["head.bias"] += 1  # another estimator
    again = values(fewer)
    assert read == ["train", "validation"] * 2
    (whole_run / "values.safetensors").write_bytes(b"damaged")
    assert torch.equal(values(fewer), again)
    assert read == ["train", "validation"] * 3


def test_a_damaged_checkpoint_is_named(
    whole_run: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = whole_run / "fader" / trainer.CHECKPOINT
    path.write_bytes(path.read_bytes()[:1000])
    arguments = ["--config", tmp_path / "config.yaml", "--data", prepared, "--out", whole_run]
    assert fit.main(list(map(str, arguments))) == 2
    assert "is damaged" in capsys.readouterr().err


def test_logs_hold_losses_probes_and_pictures(config: dict, prepared: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config["fader"]["trainer"]["evaluate_every"] = 6
    Run.open(write_config(config, tmp_path), prepared, tmp_path / "run").fit()
    events = EventAccumulator(str(tmp_path / "run" / "fader" / "logs"))
    events.Reload()
    wanted = {"loss/reconstruction", "validation/psnr", "probe_auc/Smiling", "probe_auc/Beard"}
    assert wanted <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("validation/psnr")] == [6, 12]
    assert events.Tags()["images"] == ["validation/edits"]


def test_export_makes_a_model_that_loads(
    whole_run: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    model = tmp_path / "model"
    arguments = {
        "--config": tmp_path / "config.yaml",
        "--data": prepared,
        "--run": whole_run,
        "--out": model,
    }
    assert export.main([str(word) for pair in arguments.items() for word in pair]) == 0
    assert "after 12 steps (96 images)" in capsys.readouterr().out
    fader = Fader.from_pretrained(model)
    estimator = AttributeEstimator.from_pretrained(model / "estimator")
    assert fader.schema == estimator.schema
    averages = {
        key.removeprefix("average."): value
        for key, value in checkpoint(whole_run).items()
        if key.startswith("average.") and "running" not in key
    }
    for name, parameter in fader.named_parameters():
        assert torch.equal(parameter, averages[name])
    assert fader.fitted_erasure.label_by_latent.any()


def test_learning_rates_fall_and_keep_their_pace(
    config: dict, prepared: Path, tmp_path: Path
) -> None:
    """From step 4 on over 8 steps, to a twentieth; the photo critic's is a multiple of it."""
    config["fader"]["objective"] |= {"learning_rate": 1e-3, "decay_start": 4, "decay_steps": 8}
    run = Run.open(write_config(config, tmp_path), prepared, tmp_path / "run")
    rates = [run.config.fader.objective.learning_rate_at(step) for step in (0, 4, 8, 12, 99)]
    assert rates == pytest.approx([1e-3, 1e-3, 5.25e-4, 5e-5, 5e-5])
    trainer_, task, _ = run.fader_trainer()
    trainer_.fit()
    last = run.config.fader.objective.learning_rate_at(11)
    for name, optimizer in task.optimizers.items():
        pace = PhotoCritic.PACE if name == "photo_critic" else 1
        assert optimizer.param_groups[0]["lr"].item() == pytest.approx(pace * last)


def test_the_averaged_weights_of_a_short_run_leave_its_start(
    config: dict, prepared: Path, tmp_path: Path
) -> None:
    run = Run.open(write_config(config, tmp_path), prepared, tmp_path / "run")
    trainer_, task, _ = run.fader_trainer()

    def weights(fader: Fader) -> torch.Tensor:
        return torch.cat([weight.detach().flatten() for weight in fader.parameters()])

    first = weights(task.fader)
    trainer_.fit()
    last, average = weights(task.fader), weights(task.average)
    assert 0 < (average - last).norm() < (first - last).norm() / 2
    # A long one forgets at the pace that is set.
    limit = run.config.fader.objective.average_decay
    assert trainer.average_decay(limit, 10**6) == limit == 0.999


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_run_on_a_gpu_ends_in_a_model(config: dict, prepared: Path, tmp_path: Path) -> None:
    config["fader"]["trainer"]["evaluate_every"] = 6
    config["precision"] = "bf16"
    run = ["--config", str(write_config(config, tmp_path)), "--data", str(prepared)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "false"}
    for command in (
        ["train.fit", *run, "--out", str(tmp_path / "run")],
        ["train.export", *run, "--run", str(tmp_path / "run"), "--out", str(tmp_path / "model")],
    ):
        result = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert result.returncode == 0, result.stderr[-3000:]
    assert Fader.from_pretrained(tmp_path / "model").image_size == SIZE


def test_without_lambda_e_there_is_no_discriminator(
    config: dict, prepared: Path, tmp_path: Path
) -> None:
    config["fader"]["objective"]["lambda_e"] = 0
    Run.open(write_config(config, tmp_path), prepared, tmp_path / "run").fit()
    parts = {name.split(".")[0] for name in checkpoint(tmp_path / "run")}
    assert parts == {"fader", "critic", "photo_critic", "average", "optimizer"}


def test_exported_statistics_belong_to_the_averaged_weights(
    whole_run: Path, prepared: Path, tmp_path: Path
) -> None:
    """Normalised with its own statistics, a channel of the averaged encoder has unit variance."""
    run = Run.open(tmp_path / "config.yaml", prepared, whole_run)
    trainer_, _, averaged = run.fader_trainer()
    trainer_.resume()
    fader = averaged()
    images = torch.cat([run._sampler(run.config.fader)(step).images for step in range(40)])
    with torch.inference_mode():
        latents = fader.encoder(images)
    assert latents.mean((0, 2, 3)).abs().max() < 0.15
    assert latents.std((0, 2, 3)).sub(1).abs().max() < 0.15


@pytest.mark.parametrize("held", ["encoder", "decoder"])
def test_a_half_that_is_held_stays_as_it_is_while_the_other_learns(
    config: dict, prepared: Path, tmp_path: Path, held: str
) -> None:
    config["fader"]["objective"]["held"] = held
    run = Run.open(write_config(config, tmp_path), prepared, tmp_path / "run")
    trainer_, task, averaged = run.fader_trainer()
    before = {name: tensor.clone() for name, tensor in task.fader.state_dict().items()}
    trainer_.fit()
    after = task.fader.state_dict()
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"encoder", "erasure", "decoder"} - {held}
    for name, tensor in getattr(averaged(), held).state_dict().items():  # its statistics too
        assert torch.equal(tensor, before[f"{held}.{name}"])


def test_two_processes_train_the_same_weights(config: dict, prepared: Path, tmp_path: Path) -> None:
    """Over gloo; the mean of the processes' gradients moves both alike, so one file serves."""
    config["fader"]["trainer"]["evaluate_every"] = 12
    config["mirror"] = {"faces": 24, "batch_size": 8, "trainer": {"steps": 4, "log_every": 2}}
    path, run = write_config(config, tmp_path), tmp_path / "run"
    script = tmp_path / "both.py"
    script.write_text(
        "import sys, torch\n"
        "from pathlib import Path\n"
        "from accelerate.utils import gather_object\n"
        "from train.fit import Run\n"
        "def trained(run):\n"
        "    estimator, task = run.estimator_trainer(); estimator.fit()\n"
        "    run.read_values(task.averaged_estimator)\n"
        "    trainer, task, averaged = run.fader_trainer(); trainer.fit()\n"
        "    networks = map(task.modules.get, ('fader', 'discriminator', 'average'))\n"
        "    weights = [[*network.parameters()] for network in networks]\n"
        "    trainer, task = run.mirror_trainer(task, averaged); trainer.fit()\n"
        "    networks = (*task.modules.values(), task.trained)\n"
        "    weights += [network.state_dict().values() for network in networks]\n"
        "    return [sum(t.double().sum().item() for t in tensors) for tensors in weights]\n"
        "run = Run.open(*map(Path, sys.argv[1:4]))\n"
        "assert run.accelerator.num_processes == 2\n"
        "both = gather_object([trained(run)])\n"
        "assert both[0] == both[1], both\n"
        "run.close()\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc_per_node", "2", *map(str, (script, path, prepared, run))]
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "ACCELERATE_USE_CPU": "true",
        "CUDA_VISIBLE_DEVICES": "",
    }
    result = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert checkpoint(run)
