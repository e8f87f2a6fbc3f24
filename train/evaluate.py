"""Measures a model on people it has not seen; the only source of a quality figure.

    python -m train.evaluate --model assets/faces --config train/configs/faces.yaml \\
        --data runs/data/celeba-128 --split validation --sheets runs/sheets

Prints a table, writes metrics.json beside the model and contact sheets of edits into --sheets,
which must lie outside the repository's tracked files: they show people of the data set.

metrics.json: {"split", "faces", "people", "reconstruction": {measure: figure},
"identity": {pair: mean cosine, "unchanged_rank_correlation": number},
"attributes": {name: {measure: figure or number}}}; a figure is {"mean", "low", "high"}, the ends
of a 95 % interval from a bootstrap over people. The functions below say what they measure.

Edits start at the estimated values, as a visitor's do, and are read by a judge (``train.judge``),
which is trained first where --judge holds none yet: some minutes, resumed if interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc
from torchmetrics.functional.image import (
    peak_signal_noise_ratio,
    structural_similarity_index_measure,
)
from torchmetrics.functional.regression import spearman_corrcoef
from torchvision.utils import make_grid
from tqdm import tqdm

from fader_demo.attributes import Attribute, AttributeSchema, SchemaError
from fader_demo.blending import blend
from fader_demo.estimator import AttributeEstimator
from fader_demo.model import Fader
from fader_demo.pretrained import ModelError, load_model
from fader_demo.readings import unchanged
from train.config import Config, ConfigError
from train.data import DatasetError, PreparedFaces, encode
from train.estimation import balanced_accuracy
from train.identity import FaceEmbedder
from train.judge import Judge, trained_judge
from train.probe import probe_auc, slider_ends
from train.trainer import CheckpointError, TrainingDiverged

Figure = dict[str, float]
BATCH = 64
RESAMPLES = 1_000
EMBEDDED = 60
"""Faces whose identity is compared."""
STRENGTHS = 6
"""Positions on a slider at which its response is read, both ends among them."""
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
    parser.add_argument("--judge", type=Path, default=Path("runs/judge"), help="made if not there")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets of edits")
    parser.add_argument("--shown", type=int, default=12, help="faces on a contact sheet")
    options = parser.parse_args(arguments)
    try:
        fader, estimator = load_model(options.model)
        config = Config.read(options.config)
        train, validation, test = (
            PreparedFaces(options.data, split, fader.schema, config.columns)
            for split in ("train", "validation", "test")
        )
        judge = trained_judge(
            config.attributes,
            config.judge,
            train,
            validation,
            options.judge,
            Accelerator(mixed_precision=config.precision),
        )
    except (
        ModelError,
        ConfigError,
        SchemaError,
        DatasetError,
        CheckpointError,
        TrainingDiverged,
    ) as error:
        print(f"train.evaluate: {error}", file=sys.stderr)
        return 2
    faces = validation if options.split == "validation" else test
    metrics = evaluate(fader, estimator, judge, train.thinned(PROBED_FACES), faces)
    (options.model / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")
    print(table(metrics))
    if options.sheets:
        for path in contact_sheets(fader, estimator, faces, options.sheets, options.shown):
            print(path)
    return 0


def evaluate(
    fader: Fader,
    estimator: AttributeEstimator,
    judge: Judge,
    train: PreparedFaces,
    faces: PreparedFaces,
) -> dict[str, Any]:
    """All figures, in the shape of metrics.json."""
    train.read_values(estimator)
    faces.read_values(estimator, estimator.anchors)
    latents = encode(fader, faces)
    people = People(faces.people)
    edits = Edits(fader, judge, faces, latents)
    references, identity = identity_figures(edits)
    return {
        "split": faces.split,
        "faces": len(faces),
        "people": people.count,
        "reconstruction": reconstruction(edits, people),
        "identity": references,
        "attributes": _merged(
            reading_figures("estimator", faces.values, faces, people),
            reading_figures("judge", edits.photos, faces, people),
            edit_figures(edits, people),
            response_figures(edits, people),
            identity,
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


def reconstruction(edits: Edits, people: People) -> dict[str, Figure]:
    """PSNR (dB) and SSIM of what the decoder draws at the estimated values."""
    psnr: list[Tensor] = []
    ssim: list[Tensor] = []
    ends = (-1.0, 1.0)
    for part in torch.arange(len(edits.faces)).split(BATCH):
        images, rebuilt = edits.faces.batch(part).images, edits.unedited[part]
        psnr += peak_signal_noise_ratio(rebuilt, images, ends, reduction="none", dim=(1, 2, 3))
        ssim += structural_similarity_index_measure(
            rebuilt, images, data_range=ends, reduction="none"
        )
    return {"psnr": people.mean(torch.stack(psnr)), "ssim": people.mean(torch.stack(ssim))}


def reading_figures(
    who: str, scores: Tensor, faces: PreparedFaces, people: People
) -> dict[str, dict[str, Figure]]:
    """Balanced accuracy, cut half way between the average faces of either label, and AUC."""
    result = {}
    for index, attribute in _binary(faces.schema):
        score, truth = scores[:, index], faces.labels[:, index].long()
        result[attribute.name] = {
            f"{who}_balanced_accuracy": people.statistic(balanced_accuracy, score, truth),
            f"{who}_auc": people.statistic(_auc, score, truth),
        }
    return result


class Edits:
    """Edits of the faces of a split, as the product shows them, and what the judge reads there."""

    def __init__(self, fader: Fader, judge: Judge, faces: PreparedFaces, latents: Tensor) -> None:
        self.fader = fader
        self.judge = judge
        self.faces = faces
        self.latents = latents
        self.photos = self._judged(lambda part: faces.batch(part).images)
        with torch.inference_mode():
            parts = torch.arange(len(faces)).split(BATCH)
            self.unedited = torch.cat([fader.decode(latents[p], faces.values[p]) for p in parts])

    def scores(self, index: int, strength: float) -> Tensor:
        """Scores (N, attributes) of every face with attribute ``index`` moved to ``strength``."""
        return self._judged(lambda part: self.edited(part, index, strength))

    @torch.inference_mode()
    def edited(self, part: Tensor, index: int, strength: float) -> Tensor:
        """The photos at ``part``, edited as the product edits them: (n, 3, S, S) in [-1, 1]."""
        values = self.faces.values[part].clone()
        values[:, index] = strength
        decoded = self.fader.decode(self.latents[part], values)
        photos = self.faces.batch(part).images
        return blend(self.unedited[part], decoded).apply(photos).clamp(-1, 1)

    @torch.inference_mode()
    def _judged(self, pictures: Callable[[Tensor], Tensor]) -> Tensor:
        parts = torch.arange(len(self.faces)).split(BATCH)
        return torch.cat([self.judge.scores(pictures(part)) for part in parts])


def edit_figures(edits: Edits, people: People) -> dict[str, dict[str, Any]]:
    """For each binary attribute and direction: the share of faces that the edit carries across.

    The faces that count are judged to be on the other side of 0.5 before; so an editor that
    returned the photo would score 0. "label" moves the slider to 0 or 1, "end" to its end, "swap"
    is the mean of both directions. "side_effects" is the mean change of every other attribute's
    score at the end, in units of the distance between that attribute's average faces.
    """
    result: dict[str, dict[str, Any]] = {}
    schema = edits.faces.schema
    for index, attribute in tqdm(list(_binary(schema)), desc="Edits", leave=False):
        figures = result.setdefault(attribute.name, {"side_effects": {}})
        for direction, label, end in (
            ("on", 1.0, attribute.slider[1]),
            ("off", 0.0, attribute.slider[0]),
        ):
            starts = (edits.photos[:, index] < 0.5) == (direction == "on")
            if not starts.any():
                continue
            for place, strength in (("label", label), ("end", end)):
                scores = edits.scores(index, strength)
                crossed = ((scores[:, index] > 0.5) == (direction == "on")).double()
                figures[f"{direction}_at_{place}"] = people.mean(_only(crossed, starts))
            change = (scores - edits.photos)[starts].mean(0)
            figures["side_effects"][direction] = {
                other.name: round(change[column].item(), 3)
                for column, other in _binary(schema)
                if column != index
            }
        for place in ("label", "end"):
            ways = [figures.get(f"{direction}_at_{place}") for direction in ("on", "off")]
            known = [way["mean"] for way in ways if way]
            if known:
                figures[f"swap_at_{place}"] = round(sum(known) / len(known), 4)
    return result


def response_figures(edits: Edits, people: People) -> dict[str, dict[str, Any]]:
    """How a slider answers over its whole length.

    "spearman": rank correlation of strength and judged score, the mean over faces. "monotone":
    share of faces whose score never falls as the strength rises. "response": the mean score at
    each strength.
    """
    result: dict[str, dict[str, Any]] = {}
    for index, attribute in tqdm(
        list(_binary(edits.faces.schema)), desc="Slider response", leave=False
    ):
        strengths = torch.linspace(*attribute.slider, STRENGTHS)
        scores = torch.stack([edits.scores(index, s)[:, index] for s in strengths.tolist()], 1)
        ranks = scores.argsort(1).argsort(1).double()
        steps = torch.arange(STRENGTHS, dtype=torch.double)
        spearman = 1 - 6 * (ranks - steps).square().sum(1) / (STRENGTHS * (STRENGTHS**2 - 1))
        result[attribute.name] = {
            "spearman": people.mean(spearman),
            "monotone": people.mean((scores.diff(dim=1) >= 0).all(1).double()),
            "response": {
                f"{strength:g}": round(mean, 3)
                for strength, mean in zip(strengths.tolist(), scores.mean(0).tolist(), strict=True)
            },
        }
    return result


def identity_figures(edits: Edits) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
    """Mean cosine of face embeddings: what an edit's is to be held against, and the edits' own.

    An edit is held against its photo, at either end of each slider. "unchanged_rank_correlation",
    over all of these edits: of cosine and ``unchanged``, the share that the page states.
    """
    chosen = torch.linspace(0, len(edits.faces) - 1, min(EMBEDDED, len(edits.faces))).long()
    embed = FaceEmbedder()
    images = edits.faces.batch(chosen).images
    photos = embed(images)

    def kept(pictures: Tensor) -> Tensor:
        return (photos * embed(pictures)).sum(1)

    cosines = photos @ photos.T
    people = np.array(edits.faces.people)[chosen.numpy()]
    alike = torch.from_numpy(people[:, None] == people[None, :])
    pairs = ~torch.eye(len(chosen), dtype=torch.bool)
    references = {
        "one_person": round(cosines[alike & pairs].mean().item(), 3),
        "two_people": round(cosines[~alike].mean().item(), 3),
        "reconstruction": round(kept(edits.unedited[chosen]).mean().item(), 3),
    }
    result: dict[str, dict[str, Any]] = {}
    alike_after, share_after = [], []
    for index, attribute in tqdm(list(_binary(edits.faces.schema)), desc="Identity", leave=False):
        ends = [edits.edited(chosen, index, end) for end in attribute.slider]
        off, on = (kept(pictures) for pictures in ends)
        result[attribute.name] = {
            "identity": {"off": round(off.mean().item(), 3), "on": round(on.mean().item(), 3)}
        }
        alike_after += [off, on]
        share_after += [unchanged(images, pictures) for pictures in ends]
    correlation = spearman_corrcoef(torch.cat(alike_after), torch.cat(share_after))
    references["unchanged_rank_correlation"] = round(correlation.item(), 3)
    return references, result


def invariance(
    fader: Fader, train: PreparedFaces, faces: PreparedFaces, latents: Tensor
) -> dict[str, dict[str, float]]:
    """AUC of fresh probes that read the attributes off frozen latents; 0.5 is chance."""
    known = encode(fader, train), train.labels
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
        "| attribute | judge on photos | estimator on photos | on, at 1 | on, at the end "
        "| off, at 0 | off, at the end | swap, at the ends | rank correlation "
        "| probe AUC, linear / MLP |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, figures in metrics["attributes"].items():
        if "judge_auc" not in figures:
            continue
        edits = [f"{way}_at_{place}" for way in ("on", "off") for place in ("label", "end")]
        cells = [
            name,
            _cell(figures["judge_balanced_accuracy"]),
            _cell(figures["estimator_balanced_accuracy"]),
            *(_cell(figures.get(edit)) for edit in edits),
            f"{figures['swap_at_end']:.2f}",
            _cell(figures["spearman"]),
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
        start = estimator.read(batch.images)
        latents = fader.encode(batch.images, start)
        rebuilt = fader.decode(latents, start)
        ends = list(slider_ends(fader.schema, start))
        decoded = [fader.decode(latents, values) for values in ends]
        edited = [blend(rebuilt, picture).apply(batch.images) for picture in decoded]
    paths = []
    for name, columns in (("decoder", decoded), ("product", edited)):
        cells = torch.stack([batch.images, rebuilt, *columns], dim=1).flatten(0, 1)
        sheet = make_grid(cells.clamp(-1, 1).add(1).div(2), nrow=2 + len(columns), padding=1)
        pixels = sheet.mul(255).round().byte().permute(1, 2, 0).numpy()
        paths.append(folder / f"{name}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def _binary(schema: AttributeSchema) -> Iterator[tuple[int, Attribute]]:
    return ((index, a) for index, a in enumerate(schema) if a.kind == "binary")


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
