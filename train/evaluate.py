"""Measures a model on people it has not seen; the only source of a quality figure.

    python -m train.evaluate --model assets/faces --config train/configs/faces.yaml \\
        --data runs/data/celeba-128 --split validation --sheets runs/sheets

Prints a table, writes metrics.json beside the model and contact sheets of edits into --sheets,
which must lie outside the repository's tracked files: they show people of the data set.

metrics.json: {"split", "faces", "people", "reconstruction": {measure: figure},
"attributes": {name: {measure: figure}}}; a figure is {"mean", "low", "high"}, the ends of a 95 %
interval from a bootstrap over people.

Edits start at the estimated values, as a visitor's do, and are read by the model's own estimator.
No network was trained to please it, but it is not an independent judge.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)
from torchvision.utils import make_grid
from tqdm import tqdm

from fader_demo.attributes import SchemaError
from fader_demo.estimator import AttributeEstimator
from fader_demo.model import Fader
from fader_demo.pretrained import ModelError, load_model
from train.config import Config, ConfigError
from train.data import DatasetError, PreparedFaces, predict
from train.estimation import balanced_accuracy
from train.probe import probe_auc, slider_ends

Figure = dict[str, float]
BATCH = 64
RESAMPLES = 1_000
PROBED_FACES = 12_000


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m train.evaluate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", type=Path, required=True, help="the model's folder")
    parser.add_argument("--config", type=Path, required=True, help="the configuration it came from")
    parser.add_argument("--data", type=Path, required=True, help="folder from train.prepare")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets of edits")
    parser.add_argument("--shown", type=int, default=12, help="faces on a contact sheet")
    options = parser.parse_args(arguments)
    try:
        fader, estimator = load_model(options.model)
        columns = Config.read(options.config).columns
        faces = PreparedFaces(options.data, options.split, fader.schema, columns)
        train = PreparedFaces(options.data, "train", fader.schema, columns)
    except (ModelError, ConfigError, SchemaError, DatasetError) as error:
        print(f"train.evaluate: {error}", file=sys.stderr)
        return 2
    metrics = evaluate(fader, estimator, train.thinned(PROBED_FACES), faces)
    (options.model / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    print(table(metrics))
    if options.sheets:
        for path in contact_sheets(fader, estimator, faces, options.sheets, options.shown):
            print(path)
    return 0


def evaluate(
    fader: Fader, estimator: AttributeEstimator, train: PreparedFaces, faces: PreparedFaces
) -> dict[str, Any]:
    """All figures, in the shape of metrics.json."""
    logits = predict(estimator, faces)
    faces.values = estimator.values(logits, estimator.anchors)
    latents = predict(fader.encoder, faces)
    people = People(faces.people)
    return {
        "split": faces.split,
        "faces": len(faces),
        "people": people.count,
        "reconstruction": reconstruction(fader, faces, latents, people),
        "attributes": _merged(
            estimator_figures(logits, faces, people),
            edit_figures(fader, estimator, faces, latents, people),
            invariance(fader, train, faces, latents),
        ),
    }


class People:
    """Bootstrap over people: whoever is drawn comes with all their photos."""

    def __init__(self, names: Sequence[str], seed: int = 0) -> None:
        _, members = np.unique(np.array(names), return_inverse=True)
        self.count = int(members.max()) + 1
        random = np.random.default_rng(seed)
        drawn = random.integers(0, self.count, (RESAMPLES, self.count))
        draws = np.stack([np.bincount(row, minlength=self.count) for row in drawn])
        self._weights = draws[:, members]

    def mean(self, values: Tensor | np.ndarray) -> Figure:
        """Mean over faces (N,) with its 95 % interval; NaNs are faces that do not count."""
        values = np.asarray(values, dtype=np.float64)
        counted = ~np.isnan(values)
        weights = self._weights[:, counted]
        totals = np.maximum(weights.sum(1), 1)
        return _figure(float(np.nanmean(values)), weights @ values[counted] / totals)

    def statistic(
        self, measure: Callable[[Tensor, Tensor], float], scores: Tensor, truth: Tensor
    ) -> Figure:
        """A statistic of scores and truth (N,), with the interval of its resamples."""
        faces = np.arange(len(scores))
        draws = [np.repeat(faces, weights) for weights in self._weights[:200]]
        resampled = [measure(scores[rows], truth[rows]) for rows in draws]
        return _figure(measure(scores, truth), np.array(resampled))


def _figure(mean: float, resampled: np.ndarray) -> Figure:
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return {"mean": round(mean, 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def reconstruction(
    fader: Fader, faces: PreparedFaces, latents: Tensor, people: People
) -> dict[str, Figure]:
    """PSNR (dB) and SSIM of what the decoder draws at the estimated values."""
    psnr: list[Tensor] = []
    ssim: list[Tensor] = []
    with torch.inference_mode():
        for part in tqdm(torch.arange(len(faces)).split(BATCH), desc="Reconstruction", leave=False):
            images = faces.batch(part).images
            rebuilt = fader.decode(latents[part], faces.values[part])
            ends = (-1.0, 1.0)
            psnr += peak_signal_noise_ratio(rebuilt, images, ends, reduction="none", dim=(1, 2, 3))
            ssim += structural_similarity_index_measure(
                rebuilt, images, data_range=ends, reduction="none"
            )
    return {"psnr": people.mean(torch.stack(psnr)), "ssim": people.mean(torch.stack(ssim))}


def estimator_figures(
    logits: Tensor, faces: PreparedFaces, people: People
) -> dict[str, dict[str, Figure]]:
    """Balanced accuracy and AUC of the estimator's logits on binary attributes."""
    scores = faces.schema.read(logits)
    result = {}
    for index, attribute in enumerate(faces.schema):
        if attribute.kind != "binary":
            continue
        score, truth = scores[:, index], faces.labels[:, index].long()
        result[attribute.name] = {
            "estimator_balanced_accuracy": people.statistic(balanced_accuracy, score, truth),
            "estimator_auc": people.statistic(_auc, score, truth),
        }
    return result


def edit_figures(
    fader: Fader,
    estimator: AttributeEstimator,
    faces: PreparedFaces,
    latents: Tensor,
    people: People,
) -> dict[str, dict[str, Figure]]:
    """For each binary attribute and direction: the share of faces that the edit carries across.

    The faces that count read on one side of 0.5; the edit is the photo plus the difference of
    two decodes, as the product shows it. "label" moves the slider to 0 or 1, "end" to its end.
    "others" is the mean change of the other attributes' readings at the end.
    """
    result: dict[str, dict[str, Figure]] = {}
    for index, attribute in enumerate(tqdm(fader.schema, desc="Edits", leave=False)):
        if attribute.kind != "binary":
            continue
        figures = result.setdefault(attribute.name, {})
        for direction, label, end in (
            ("on", 1.0, attribute.slider[1]),
            ("off", 0.0, attribute.slider[0]),
        ):
            starts = (faces.values[:, index] < 0.5) == (direction == "on")
            if not starts.any():
                continue
            for place, strength in (("label", label), ("end", end)):
                read = read_edits(fader, estimator, faces, latents, index, strength)
                crossed = ((read[:, index] > 0.5) == (direction == "on")).double()
                figures[f"{direction}_at_{place}"] = people.mean(_only(crossed, starts))
            change = (read - faces.values).abs()
            change[:, index] = 0
            others = change.sum(1) / max(1, len(fader.schema) - 1)
            figures[f"{direction}_others"] = people.mean(_only(others, starts))
    return result


def read_edits(
    fader: Fader,
    estimator: AttributeEstimator,
    faces: PreparedFaces,
    latents: Tensor,
    index: int,
    strength: float,
) -> Tensor:
    """Readings (N, attributes) of every face with one attribute moved to ``strength``."""
    readings = []
    with torch.inference_mode():
        for part in torch.arange(len(faces)).split(BATCH):
            values = faces.values[part].clone()
            values[:, index] = strength
            edited = product_edit(
                fader, faces.batch(part).images, latents[part], faces.values[part], values
            )
            readings.append(estimator.read(edited))
    return torch.cat(readings)


def product_edit(
    fader: Fader, images: Tensor, latents: Tensor, start: Tensor, values: Tensor
) -> Tensor:
    """The photo plus the difference between the decodes at ``values`` and at ``start``."""
    difference = fader.decode(latents, values) - fader.decode(latents, start)
    return (images + difference).clamp(-1, 1)


def invariance(
    fader: Fader, train: PreparedFaces, faces: PreparedFaces, latents: Tensor
) -> dict[str, dict[str, float]]:
    """AUC of fresh probes that read the attributes off frozen latents; 0.5 is chance."""
    known = predict(fader.encoder, train), train.labels
    unseen = latents, faces.labels
    result: dict[str, dict[str, float]] = {}
    for name, hidden in (("probe_linear", 0), ("probe_mlp", 256)):
        for attribute, auc in probe_auc(fader.schema, known, unseen, hidden, steps=1500).items():
            result.setdefault(attribute, {})[name] = round(auc, 4)
    return result


def table(metrics: dict[str, Any]) -> str:
    """The figures as Markdown."""
    psnr, ssim = (metrics["reconstruction"][name] for name in ("psnr", "ssim"))
    lines = [
        f"{metrics['faces']} faces of {metrics['people']} people ({metrics['split']}). "
        f"Reconstruction {psnr['mean']:.2f} dB [{psnr['low']:.2f}, {psnr['high']:.2f}], "
        f"SSIM {ssim['mean']:.3f} [{ssim['low']:.3f}, {ssim['high']:.3f}].",
        "",
        "| attribute | estimator, balanced accuracy | on, at 1 | on, at the end | off, at 0 "
        "| off, at the end | others moved by (on / off) | probe AUC, linear / MLP |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, figures in metrics["attributes"].items():
        if "estimator_auc" not in figures:
            continue
        edits = [f"{way}_at_{place}" for way in ("on", "off") for place in ("label", "end")]
        others = [figures.get(f"{way}_others", {}).get("mean", 0.0) for way in ("on", "off")]
        cells = [
            name,
            _cell(figures["estimator_balanced_accuracy"]),
            *(_cell(figures.get(edit)) for edit in edits),
            "{:.2f} / {:.2f}".format(*others),
            f"{figures['probe_linear']:.2f} / {figures['probe_mlp']:.2f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def contact_sheets(
    fader: Fader, estimator: AttributeEstimator, faces: PreparedFaces, folder: Path, shown: int
) -> list[Path]:
    """Two pictures, a row a face: photo, reconstruction, then both ends of each slider.

    "decoder.png" shows what the decoder draws, "product.png" the photo with the edit added.
    """
    folder.mkdir(parents=True, exist_ok=True)
    batch = faces.thinned(shown).batch(torch.arange(min(shown, len(faces))))
    with torch.inference_mode():
        latents, start = fader.encode(batch.images), estimator.read(batch.images)
        rebuilt = fader.decode(latents, start)
        ends = list(slider_ends(fader.schema, start))
        decoded = [fader.decode(latents, values) for values in ends]
        edited = [product_edit(fader, batch.images, latents, start, values) for values in ends]
    paths = []
    for name, columns in (("decoder", decoded), ("product", edited)):
        cells = torch.stack([batch.images, rebuilt, *columns], dim=1).flatten(0, 1)
        sheet = make_grid(cells.clamp(-1, 1).add(1).div(2), nrow=2 + len(columns), padding=1)
        pixels = sheet.mul(255).round().byte().permute(1, 2, 0).numpy()
        paths.append(folder / f"{name}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def _auc(scores: Tensor, truth: Tensor) -> float:
    return binary_auroc(scores, truth).item()


def _only(values: Tensor, counted: Tensor) -> Tensor:
    return torch.where(counted, values, torch.nan)


def _merged(*parts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    names = {name: None for part in parts for name in part}
    return {name: {k: v for part in parts for k, v in part.get(name, {}).items()} for name in names}


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    return f"{figure['mean']:.2f} [{figure['low']:.2f}, {figure['high']:.2f}]"


if __name__ == "__main__":
    sys.exit(main())
