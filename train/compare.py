"""Compares recipes: trains each on an equal budget and measures it on validation people.

    python -m train.compare --config train/comparison.yaml --data runs/data/celeba-128 \\
        --model assets/faces --out runs/comparison

The file names a base configuration, a budget that all of them get, and the variants: settings that
differ, or departures that no final recipe has and that live here alone (``Departures``). Every
variant is a run of its own, resumed if interrupted, and its figures are kept beside it; --only
trains some of them. Prints the table of all that have been measured (train/RESULTS.md).

Attribute values are those that the estimator of --model reads, the same for all. Latents are the
encoder's alone, not fitted to each photo as an editor's are: recipes differ in what it gives.
"""

from __future__ import annotations

import copy
import json
import math
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
import yaml
from accelerate import Accelerator
from torch import Tensor, nn

from fader_demo.attributes import AttributeSchema
from fader_demo.estimator import AttributeEstimator
from fader_demo.model import Fader, LinearErasure
from fader_demo.pretrained import load_model
from train import command, evaluate
from train.bootstrap import People
from train.config import Config, ConfigError, build, merged, read_settings
from train.data import BatchSampler, PreparedFaces, encode
from train.edits import DIRECTIONS, Edits
from train.judge import Judge, trained_judge
from train.objective import FaderTask
from train.probe import Evaluation, probe_auc
from train.realism import realism_figures
from train.regions import located
from train.trainer import Trainer
from train.warm_start import start_fader

PROBED_FACES = 6_000
"""Training faces that fresh probes learn from."""
EDITED_FACES = 241
"""Validation faces whose edits are judged."""
REAL_FACES = 1_500
"""Training faces that edits are held against."""
MODEL = "model"
"""Where, in a variant's run, its averaged model is kept."""


@dataclass(frozen=True)
class Departures:
    """What is tried beside the settings of a run.

    start: the variant, earlier in the file, whose weights this one begins with, as far as they fit.
    sampling: of training faces; "plain" shows each as often as any other. erasure: whether what is
    linear in the code is taken from the latent. values: what the decoder is told. loss: of
    reconstruction; "features" adds that of the estimator's first two blocks. latent: "raw" leaves
    out its normalisation. restart: the discriminator starts anew every so many steps.
    discriminators: how many there are, each on its own; the mean of their losses is taken.
    attribute_weights: how much an attribute counts in the losses of discriminator and encoder, 1
    where none is given.
    distance_correlation: weight, beside the discriminator's, of the distance correlation of latent
    and labels (Szekely et al. 2007, arXiv 0803.4101).
    """

    start: str = ""
    sampling: Literal["balanced", "plain"] = "balanced"
    erasure: bool = True
    values: Literal["estimated", "labels"] = "estimated"
    loss: Literal["l2", "l1", "features"] = "l2"
    latent: Literal["normalised", "raw"] = "normalised"
    restart: int = 0
    discriminators: int = 1
    attribute_weights: dict[str, float] = field(default_factory=dict)
    distance_correlation: float = 0.0


@dataclass(frozen=True)
class Variant:
    """name: the run's folder too. settings: over the base and the budget."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    departures: Departures = field(default_factory=Departures)


@dataclass(frozen=True)
class Comparison:
    base: str
    budget: dict[str, Any]
    variants: list[dict[str, Any]]

    def config(self, variant: Variant, folder: Path) -> Config:
        base = read_settings(folder / self.base)
        return Config.of(merged(merged(base, self.budget), variant.settings))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command.parser("compare", __doc__)
    parser.add_argument("--config", type=Path, required=True, help="the variants, as YAML")
    parser.add_argument("--data", type=Path, required=True, help="folder from train.prepare")
    parser.add_argument("--model", type=Path, required=True, help="whose estimator reads values")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--judge", type=Path, default=Path("runs/judge"), help="made if not there")
    parser.add_argument("--only", nargs="*", help="names of variants; none: just the table")
    options = parser.parse_args(arguments)
    try:
        comparison: Comparison = build(Comparison, yaml.safe_load(options.config.read_text()))
        variants: list[Variant] = [build(Variant, each) for each in comparison.variants]
        names = {variant.name: variant for variant in variants}
        if unknown := set(options.only or ()) - set(names):
            raise ConfigError(f"no variant is called {', '.join(sorted(unknown))}")
        wanted = [names[name] for name in (names if options.only is None else options.only)]
        unmeasured = [v for v in wanted if not (options.out / v.name / "figures.json").exists()]
        if unmeasured:
            configs = [comparison.config(v, options.config.parent) for v in unmeasured]
            _, estimator = load_model(options.model)
            budget = comparison.config(Variant("budget"), options.config.parent)
            ground = Ground(budget, options.data, estimator, options.judge)
            for variant, config in zip(unmeasured, configs, strict=True):
                print(f"{variant.name} ...", flush=True)
                trial = Trial(config, variant, options.out / variant.name, ground)
                if not trial.fit():
                    print("Stopped and saved. Run the same command again to go on.")
                    return 0
                figures = json.dumps(trial.figures(), indent=1) + "\n"
                (trial.folder / "figures.json").write_text(figures)
    except (OSError, *command.FAILURES) as error:
        return command.failed("compare", error)
    print(table(options.out, names))
    return 0


class Ground:
    """What all variants share: faces, what the estimator reads in them, where their attributes
    show, and the judge.
    """

    def __init__(self, config: Config, data: Path, estimator: AttributeEstimator, judge: Path):
        self.accelerator = Accelerator(mixed_precision=config.mixed_precision)
        self.estimator = estimator
        self.train, self.validation = (
            config.faces(data, split) for split in ("train", "validation")
        )
        for faces in (self.train, self.validation):
            faces.read_values(estimator)
        self.schema = located(self.train.schema, self.train)
        self.judge: Judge = trained_judge(
            config.attributes, config.judge, self.train, self.validation, judge, self.accelerator
        )


class Trial:
    """One variant: its run, and its figures."""

    def __init__(self, config: Config, variant: Variant, folder: Path, ground: Ground) -> None:
        self.config, self.folder, self.departures = config, folder, variant.departures
        self.ground = ground
        first = variant.departures.start
        if first and not (folder.parent / first / MODEL).is_dir():
            raise ConfigError(f"{variant.name} begins with {first}: train that before it.")
        config.claim(folder)
        settings = config.fader
        torch.manual_seed(settings.trainer.seed)
        fader = config.new_fader()
        fader.schema = ground.schema
        self.train, self.validation = copy.copy(ground.train), copy.copy(ground.validation)
        for faces in (self.train, self.validation):
            faces.image_size = fader.image_size
        # Sliders start at the estimated values, whatever the decoder is told in training.
        self.edited = self.validation.thinned(EDITED_FACES)
        if self.departures.values == "labels":
            self.train.values, self.validation.values = self.train.labels, self.validation.labels
        self.sampler = BatchSampler(self.train, settings.batch_size, settings.trainer.seed)
        if self.departures.sampling == "plain":
            self.sampler.weights.fill_(1)
        if first:
            start_fader(fader, Fader.from_pretrained(folder.parent / first / MODEL))
        if not self.departures.erasure:
            fader.erasure = Untouched(math.prod(fader.latent_shape), fader.schema.code_size)
        if self.departures.latent == "raw":
            fader.encoder.blocks[-1] = fader.encoder.blocks[-1][:1]  # type: ignore[index]
        self.task = VariedTask(self, fader)
        self.trainer = Trainer(
            self.task, self.sampler, folder / "fader", settings.trainer, ground.accelerator
        )

    def fit(self) -> bool:
        began = time.monotonic()
        before = self.trainer.resume()
        steps = self.trainer.fit()
        if steps > before:
            images = (steps - before) * self.config.fader.batch_size
            print(f"{images / (time.monotonic() - began):.0f} images/s")
        return steps >= self.config.fader.trainer.steps

    def figures(self) -> dict[str, Any]:
        """Of the averaged model: what it rebuilds, edits, mixes up, keeps in its latent."""
        fader = self.task.averaged_fader(self.sampler)
        fader.save_pretrained(self.folder / MODEL)
        evaluation = Evaluation(lambda: fader, self.train, self.validation)
        settings = self.config.fader
        result: dict[str, Any] = {
            "images": settings.trainer.steps * settings.batch_size,
            "psnr": round(evaluation.psnr(fader).item(), 2),
        }
        known, unseen = (
            (encode(fader, faces), faces.labels)
            for faces in (self.train.thinned(PROBED_FACES), self.validation)
        )
        for name, hidden in (("linear", 0), ("mlp", 256)):
            result[f"probe_{name}"] = probe_auc(fader.schema, known, unseen, hidden, steps=800)
        real = self.train.thinned(REAL_FACES)
        return result | edit_figures(fader, self.ground.judge, self.edited, real)


class VariedTask(FaderTask):
    """The objective with a trial's departures."""

    def __init__(self, trial: Trial, fader: Fader) -> None:
        objective, ground = trial.config.fader.objective, trial.ground
        self.departures = trial.departures
        super().__init__(fader, objective, trial.sampler.prior, ground.accelerator)
        self.features = ground.estimator.blocks[:2].eval().requires_grad_(False)
        self.updates = 0

    def _reconstruction_loss(self, rebuilt: Tensor, images: Tensor) -> Tensor:
        if self.departures.loss == "l1":
            return F.l1_loss(rebuilt, images)
        loss = super()._reconstruction_loss(rebuilt, images)
        if self.departures.loss == "features":
            loss = loss + 0.02 * F.mse_loss(self.features(rebuilt), self.features(images))
        return loss

    def _update_discriminator(self, latent: Tensor, target: Tensor) -> Tensor:
        self.updates += 1
        if self.departures.restart and self.updates % self.departures.restart == 0:
            fresh = self._new_discriminator(self.accelerator.unwrap_model(self.fader))
            self.modules["discriminator"].load_state_dict(fresh.state_dict())
            self.optimizers["discriminator"].state.clear()
        return super()._update_discriminator(latent, self._for_each(target))

    def _new_discriminator(self, fader: Fader) -> nn.Module:
        new, count = super()._new_discriminator, self.departures.discriminators
        return Discriminators((new(fader) for _ in range(count)), self._weights(fader.schema))

    def _weights(self, schema: AttributeSchema) -> Tensor:
        weights = self.departures.attribute_weights
        for name in weights:
            schema.index_of(name)  # an attribute that there is
        return torch.cat(
            [torch.full((a.prediction_size,), weights.get(a.name, 1.0)) for a in schema]
        )

    def _for_each(self, target: Tensor) -> Tensor:
        return target.repeat(self.departures.discriminators, 1)

    def _adversarial_loss(self, latent: Tensor, target: Tensor) -> Tensor:
        loss = super()._adversarial_loss(latent, self._for_each(target))
        if weight := self.departures.distance_correlation:
            loss = loss + weight * distance_correlation(latent.flatten(1).float(), target)
        return loss


class Discriminators(nn.ModuleList):
    """Latent (N, C, h, w) -> logits of all discriminators, one after the other.

    weights (logits,): of what is learned from each. They act on the gradient, so that the losses,
    means over attributes, need not know them.
    """

    weights: Tensor

    def __init__(self, discriminators: Iterable[nn.Module], weights: Tensor) -> None:
        super().__init__(discriminators)
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, latent: Tensor) -> Tensor:
        logits = torch.cat([discriminator(latent) for discriminator in self])
        return logits.detach() + self.weights * (logits - logits.detach())


class Untouched(LinearErasure):
    """In the place of the erasure: what is measured for it is not used."""

    def forward(self, latent: Tensor, code: Tensor, label: Tensor | None = None) -> Tensor:
        return latent


def distance_correlation(a: Tensor, b: Tensor) -> Tensor:
    """Of samples (N, D) and (N, E): 0 if independent, 1 if one is the other, turned and scaled."""

    def centred(x: Tensor) -> Tensor:
        d = (x[:, None] - x[None]).square().sum(-1).add(1e-9).sqrt()
        return d - d.mean(0) - d.mean(1, keepdim=True) + d.mean()

    a, b = centred(a), centred(b)
    return ((a * b).mean() / ((a * a).mean() * (b * b).mean()).sqrt()).clamp(min=1e-9).sqrt()


def edit_figures(
    fader: Fader, judge: Judge, faces: PreparedFaces, train: PreparedFaces
) -> dict[str, Any]:
    """Swaps by attribute, the mean side effect over the target's own, and the mean of KIDs."""
    edits = Edits(fader, judge, faces, encode(fader, faces))
    people = People(faces.people)
    attributes = evaluate.edit_figures(edits, people)
    ratios = [each["side_effect_ratio"] for each in attributes.values()]
    side = [r for each in ratios for way in DIRECTIONS if (r := each.get(way)) is not None]
    realism = realism_figures(edits, train, people)
    kid = [
        figures["kid"][way]["mean"]
        for figures in realism.values()
        for way in DIRECTIONS
        if way in figures["kid"]
    ]
    swaps = {
        place: {name: each[place] for name, each in attributes.items() if place in each}
        for place in ("swap_at_label", "swap_at_end")
    }
    return swaps | {
        "side_effects": round(sum(side) / len(side), 3),
        "kid": round(sum(kid) / len(kid), 3),
    }


def table(folder: Path, names: Iterable[str]) -> str:
    """Markdown: a row for each variant that has been measured."""
    lines = [
        "| variant | swap at labels / ends | worst swap at ends | side effects | KID at ends "
        "| probe AUC, linear: mean / worst | probe AUC, MLP: mean / worst | PSNR, dB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in names:
        path = folder / name / "figures.json"
        if not path.exists():
            continue
        figures = json.loads(path.read_text())
        label, end = (figures[f"swap_at_{place}"].values() for place in ("label", "end"))
        worst = min(figures["swap_at_end"], key=figures["swap_at_end"].__getitem__)
        probes = [figures[f"probe_{kind}"].values() for kind in ("linear", "mlp")]
        cells = [
            name,
            f"{_mean(label):.2f} / {_mean(end):.2f}",
            f"{min(end):.2f} ({worst})",
            f"{figures['side_effects']:.2f}",
            f"{figures['kid']:.2f}",
            *(f"{_mean(aucs):.2f} / {max(aucs):.2f}" for aucs in probes),
            f"{figures['psnr']:.1f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _mean(numbers: Any) -> float:
    return sum(numbers) / len(numbers)


if __name__ == "__main__":
    sys.exit(main())
