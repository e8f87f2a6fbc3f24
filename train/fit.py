"""Trains a model: first the estimator that reads attributes off a face, then the Fader itself, then
what its decoder makes of mirror images (``train.mirror``).

    python -m train.fit --config train/configs/faces.yaml --data DIR --out runs/faces

A run that was interrupted or killed goes on from its last checkpoint when started again with the
same arguments. For several processes or machines: ``accelerate launch -m train.fit ...``.
``--start-from MODEL`` begins with the weights of a trained model, as far as they fit: fewer photos
and fewer steps are then enough.
Follow it with ``tensorboard --logdir runs``; ``python -m train.export`` makes a model of it.
"""

from __future__ import annotations

import gc
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from fader_demo.estimator import AttributeEstimator
from fader_demo.model import Fader
from fader_demo.pretrained import load_model
from train import command
from train.config import Config, ConfigError, FaderSettings
from train.data import Batch, BatchSampler, PreparedFaces
from train.estimation import EstimatorEvaluation, EstimatorSettings, EstimatorTask
from train.files import write_tensors
from train.glasses import dark_glasses
from train.mirror import MirrorTask, Viewed, ViewSampler, fitted_views
from train.objective import FaderTask
from train.probe import Evaluation
from train.regions import located
from train.trainer import Trainer
from train.warm_start import start_estimator, start_fader

PROBED_FACES = 4_000
"""Training faces whose latents a fresh probe is trained on during a run."""
LOOKED_AT_FACES = 25_000
"""Training faces, at most, that tell where attributes show and what to erase of fitted latents."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command.parser("fit", __doc__)
    parser.add_argument("--config", type=Path, required=True, help="YAML, see train/configs")
    parser.add_argument("--data", type=Path, required=True, help="folder from train.prepare")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder")
    parser.add_argument("--start-from", help="a model: folder, or repository on the Hub")
    options = parser.parse_args(arguments)
    try:
        run = Run.open(options.config, options.data, options.out, options.start_from)
        finished = run.fit()
        run.close()
    except command.FAILURES as error:
        return command.failed("fit", error)
    if not finished:
        run.accelerator.print("Stopped and saved. Run the same command again to go on.")
    return 0


@dataclass
class Run:
    """A configuration, its data, and the folder where its networks train, one by one.

    start: the model whose weights they begin with, as far as they fit.
    """

    config: Config
    folder: Path
    train: PreparedFaces
    validation: PreparedFaces
    accelerator: Accelerator
    start: tuple[Fader, AttributeEstimator] | None = None

    @classmethod
    def open(
        cls, config_path: Path, data: Path, folder: Path, start_from: str | None = None
    ) -> Run:
        config = Config.read(config_path)
        train, validation = (config.faces(data, split) for split in ("train", "validation"))
        start = load_model(start_from) if start_from else None
        config.claim(folder)
        accelerator = Accelerator(mixed_precision=config.mixed_precision)
        return cls(config, folder, train, validation, accelerator, start)

    def fit(self) -> bool:
        """Trains what is not trained yet; False if it was asked to stop before the end."""
        settings = self.config.fader
        held = settings.objective.held != "neither" or not settings.trainer.steps
        if (held or not self.config.estimator.trainer.steps) and not self.start:
            raise ConfigError(
                "This configuration keeps parts of a trained model: name it with --start-from."
            )
        device = self.accelerator.device
        if device.type == "cuda" and self.train.nbytes < torch.cuda.mem_get_info(device)[0] / 2:
            self.train.hold(device)
        estimator, task = self.estimator_trainer()
        if estimator.fit() < estimator.settings.steps:
            return False
        self.read_values(task.averaged_estimator)
        fader, fader_task, averaged = self.fader_trainer()
        if fader.fit() < fader.settings.steps:
            return False
        if not self.config.mirror.trainer.steps:
            return True
        mirror, _ = self.mirror_trainer(fader_task, averaged)
        return mirror.fit() >= mirror.settings.steps

    def close(self) -> None:
        """Ends what processes that train together share; all networks must have been let go.

        They hold on to the process group, whose threads abort a process that ends under them.
        """
        self.accelerator.free_memory()
        gc.collect()
        self.accelerator.end_training()

    def estimator_trainer(self) -> tuple[Trainer[Batch], EstimatorTask[AttributeEstimator]]:
        settings = self.config.estimator
        sampler = self._sampler(settings)
        estimator = self.config.new_estimator()
        if self.start:
            start_estimator(estimator, self.start[1])
        task = EstimatorTask(estimator, self.train.schema, settings, self.accelerator)
        callback = EstimatorEvaluation(task, self.validation)
        folder = self.folder / "estimator"
        return Trainer(task, sampler, folder, settings.trainer, self.accelerator, [callback]), task

    def read_values(self, estimator: AttributeEstimator) -> None:
        """Lets the decoder be told what the estimator reads, as it will be of an upload.

        It takes minutes, so what was read is kept for when the run goes on.
        """
        splits = {"train": self.train, "validation": self.validation}
        kept, of = self.folder / "values.safetensors", _digest(estimator, *splits.values())
        if values := _kept(kept, of):
            for name, faces in splits.items():
                faces.values = values[name]
            return
        self.accelerator.print("Reading attribute values off the faces ...")
        for faces in splits.values():
            faces.read_values(estimator)
        self._keep(kept, {name: faces.values for name, faces in splits.items()}, of)

    def fader_trainer(self) -> tuple[Trainer[Batch], FaderTask, Callable[[], Fader]]:
        """The trainer, its task, and what makes the averaged model of the moment."""
        settings = self.config.fader
        sampler = self._sampler(settings, dark_glasses(self.train))
        fader = self.config.new_fader()
        fader.schema = located(fader.schema, self.train.thinned(LOOKED_AT_FACES))
        if self.start:
            start_fader(fader, self.start[0])
        task = FaderTask(fader, settings.objective, sampler.prior, self.accelerator)

        def averaged() -> Fader:
            return task.averaged_fader(sampler)

        callback = Evaluation(averaged, self.train.thinned(PROBED_FACES), self.validation)
        folder = self.folder / "fader"
        trainer = Trainer(task, sampler, folder, settings.trainer, self.accelerator, [callback])
        return trainer, task, averaged

    def mirror_trainer(
        self, trained: FaderTask, averaged: Callable[[], Fader]
    ) -> tuple[Trainer[Viewed], MirrorTask]:
        """What follows on ``fader_trainer``, of whose trained task and averaged model it is made.

        Latents take minutes to be fitted, so they are kept for when the run goes on, with the model
        that they belong to.
        """
        settings, accelerator = self.config.mirror, self.accelerator
        folder, faces = self.folder / "mirror", self.train.thinned(settings.faces)
        views = settings.views(faces.schema)
        kept, of = folder / "latents.safetensors", f"{_digest(trained.average, faces)} {views}"
        tensors = _kept(kept, of)
        if not tensors:
            fader = averaged()
            made = {"latents": fitted_views(fader, faces, views), **fader.state_dict()}
            tensors = broadcast(made)  # statistics are of each process's own part of the batches
            self._keep(kept, tensors, of)
        latents = tensors.pop("latents").to(accelerator.device)
        trained.average.load_state_dict(tensors)
        sampler = ViewSampler(
            faces, latents, settings, accelerator.process_index, accelerator.num_processes
        )
        task = MirrorTask(trained.average.eval(), settings, accelerator)
        probed = self.train.thinned(PROBED_FACES)
        callback = Evaluation(task.averaged_fader, probed, self.validation)
        return Trainer(task, sampler, folder, settings.trainer, accelerator, [callback]), task

    def _keep(self, path: Path, tensors: dict[str, Tensor], of: str) -> None:
        if self.accelerator.is_main_process:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                write_tensors(path, tensors, {"of": of})
            except OSError as error:  # they are made again, then
                print(f"{path.name} could not be written: {error}")

    def _sampler(
        self, settings: EstimatorSettings | FaderSettings, left_out: Tensor | None = None
    ) -> BatchSampler:
        torch.manual_seed(settings.trainer.seed)
        return BatchSampler(
            self.train,
            settings.batch_size,
            settings.trainer.seed,
            self.accelerator.process_index,
            self.accelerator.num_processes,
            left_out,
        )


def _digest(network: nn.Module, *splits: PreparedFaces) -> str:
    """Of what its results depend on: the network's weights, and which faces it is given."""
    digest = hashlib.sha256()
    for tensor in network.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    for faces in splits:
        digest.update("\n".join(faces.ids).encode())
        digest.update(faces.labels.numpy().tobytes())
    return digest.hexdigest()


def _kept(path: Path, of: str) -> dict[str, Tensor]:
    """What was kept; nothing if it came of another network or of other faces."""
    try:
        with safe_open(str(path), "pt") as file:
            if (file.metadata() or {}).get("of") == of:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError):
        pass
    return {}


if __name__ == "__main__":
    sys.exit(main())
