"""Makes a model folder of a run, as far as it has got: averaged weights, configuration, estimator.

Where an attribute shows was measured on the training faces (train/regions.py), and on these it is
measured what of their labels stays in latents fitted to photos (train/erasure.py), for which a CPU
needs up to an hour; how far the decoder goes for a move of a slider on validation people
(train/calibration.py).

python -m train.export --config train/configs/faces.yaml --data DIR --run runs/faces --out DIR
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from train import command
from train.calibration import calibrated
from train.data import label_anchors, predict
from train.erasure import erase_fitted
from train.fit import LOOKED_AT_FACES, Run
from train.trainer import CheckpointError


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command.parser("export", __doc__)
    parser.add_argument("--config", type=Path, required=True, help="the run's configuration")
    parser.add_argument("--data", type=Path, required=True, help="the data it was trained on")
    parser.add_argument("--run", type=Path, required=True, help="the run's folder")
    parser.add_argument("--out", type=Path, required=True, help="the model's folder")
    options = parser.parse_args(arguments)
    try:
        run = Run.open(options.config, options.data, options.run)
        steps = export(run, options.out)
    except command.FAILURES as error:
        return command.failed("export", error)
    images = steps * run.config.fader.batch_size
    print(f"{options.out}: the model after {steps} steps ({images} images).")
    return 0


def export(run: Run, folder: Path) -> int:
    """Writes ``folder`` and ``folder/estimator``; returns the Fader's steps so far."""
    trainer, task = run.estimator_trainer()
    if not trainer.checkpoint.exists():
        raise CheckpointError(f"{run.folder} holds no trained estimator yet.")
    trainer.resume()
    estimator = task.averaged_estimator
    run.read_values(estimator)
    logits = predict(estimator, run.validation)
    estimator.anchors.copy_(label_anchors(estimator.schema, logits, run.validation.labels))
    fader_trainer, fader_task, averaged = run.fader_trainer()
    steps, all_steps = fader_trainer.resume(), fader_trainer.settings.steps
    if not fader_trainer.checkpoint.exists() or steps < min(1, all_steps):
        raise CheckpointError(f"{run.folder} holds no trained Fader yet.")
    if steps == all_steps and run.config.mirror.trainer.steps:
        mirror_trainer, mirror_task = run.mirror_trainer(fader_task, averaged)
        mirror_trainer.resume()
        fader = mirror_task.averaged_fader()
    else:
        fader = averaged()
    erase_fitted(fader, run.train.thinned(LOOKED_AT_FACES))
    fader, estimator = fader.cpu(), estimator.cpu()
    run.validation.read_values(estimator, estimator.anchors)
    schema = calibrated(fader, estimator, run.validation)
    config = replace(run.config, attributes=schema.to_config())
    for network, path, described in (
        (fader, folder, config.new_fader()),
        (estimator, folder / "estimator", config.new_estimator()),
    ):
        described.load_state_dict(network.state_dict())
        described.save_pretrained(path)
    for weights in folder.rglob("*.safetensors"):
        weights.chmod(0o644)  # written for their owner alone, and meant to be shared
    return steps


if __name__ == "__main__":
    sys.exit(main())
