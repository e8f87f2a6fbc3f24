"""Measures a model on people it has not seen; the only source of a quality figure.

    python -m train.evaluate --model assets/faces --config train/configs/faces.yaml \\
        --data runs/data/celeba-128 --split validation --sheets runs/sheets

Prints the figures, writes metrics.json beside the model, puts the figures into its card where that
has a place for them (``train.report``), and contact sheets of edits into --sheets, which must lie
outside the repository's tracked files: they show people of the data set.

metrics.json: {"split", "faces", "people", "reconstruction": {measure: figure},
"identity": {"faces", pair: mean cosine, "threshold": cosine, "one_person_same": share,
"unchanged_rank_correlation": number}, "attributes": {name: {measure: figure or number,
"half_cross": {direction: strength or null}, "reliability": [share or null], "kid": {what: figure
with "n"}}}, "whole_photos": {"faces", "not_found", "attributes": {name: {measure: figure or
number}}}}; a figure is {"mean", "low", "high"}, the ends of a 95 % interval from a bootstrap over
people. The functions that measure say what. KID is on the judge's features, not Inception's: it
compares within the table only. "whole_photos" is there with --photos alone, the folder of the
photos that the faces were prepared from.

Edits start at the estimated values and latents are fitted to each photo, as a visitor's are; those
that probes read as well. A judge (``train.judge``) reads the edits. It is trained first where
--judge holds none yet: a quarter of an hour, resumed if interrupted.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from itertools import pairwise
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

from fader_demo.attributes import AttributeSchema
from fader_demo.editor import Editor
from fader_demo.estimator import AttributeEstimator
from fader_demo.model import Fader
from fader_demo.pretrained import load_model
from fader_demo.readings import unchanged
from train import command
from train.bootstrap import Figure, People
from train.config import Config
from train.data import PreparedFaces, invert, overlap_weights
from train.edits import (
    BATCH,
    DIRECTIONS,
    Direction,
    EditedFaces,
    Edits,
    binary,
    crossed,
    starts,
    swaps,
    targets,
)
from train.estimation import READ_AT, balanced_accuracy
from train.files import write_atomically
from train.identity import STRANGERS, FaceEmbedder
from train.judge import Judge, trained_judge
from train.probe import probe_auc, slider_ends
from train.realism import realism_figures
from train.report import report, update
from train.whole_photos import PhotoSample, whole_photo_figures

EMBEDDED = 200
"""Faces whose identity is compared."""
STRENGTHS = 6
"""Positions on a slider at which its response is read, both ends among them."""
PROBED_FACES = 12_000


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command.parser("evaluate", __doc__)
    parser.add_argument("--model", type=Path, required=True, help="the model's folder")
    parser.add_argument("--config", type=Path, required=True, help="the configuration it came from")
    parser.add_argument("--data", type=Path, required=True, help="folder from train.prepare")
    parser.add_argument("--judge", type=Path, default=Path("runs/judge"), help="made if not there")
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--photos", type=Path, help="folder of whole photos: edits them as well")
    parser.add_argument("--faces", type=int, help="judge so many of the split, evenly spread")
    parser.add_argument("--sheets", type=Path, help="folder for contact sheets of edits")
    parser.add_argument("--shown", type=int, default=12, help="faces on a contact sheet")
    options = parser.parse_args(arguments)
    try:
        fader, estimator = load_model(options.model)
        config = Config.read(options.config)
        train, validation, test = (
            PreparedFaces(options.data, split, fader.schema, config.columns, fader.image_size)
            for split in ("train", "validation", "test")
        )
        faces = validation if options.split == "validation" else test
        faces = faces.thinned(options.faces or len(faces))
        photos = PhotoSample.of(faces, options.photos) if options.photos else None
        judge = trained_judge(
            config.attributes,
            config.judge,
            train,
            validation,
            options.judge,
            Accelerator(mixed_precision=config.mixed_precision),
        )
    except command.FAILURES as error:
        return command.failed("evaluate", error)
    metrics = evaluate(fader, estimator, judge, train.thinned(PROBED_FACES), faces, photos)
    print(report(metrics))  # before anything can go wrong with the files
    try:
        write_atomically(options.model / "metrics.json", json.dumps(metrics, indent=1) + "\n")
        update(options.model / "README.md", metrics)
    except OSError as error:
        return command.failed("evaluate", error)
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
    photos: PhotoSample | None = None,
) -> dict[str, Any]:
    """All figures, in the shape of metrics.json."""
    train.read_values(estimator)
    faces.read_values(estimator, estimator.anchors)
    latents = invert(fader, faces)
    people = People(faces.people)
    edits = Edits(fader, judge, faces, latents)
    references, identity = identity_figures(edits)
    metrics: dict[str, Any] = {
        "split": faces.split,
        "faces": len(faces),
        "people": people.count,
        "reconstruction": reconstruction(edits, people),
        "identity": references,
        "attributes": _merged(
            reading_figures("estimator", faces.values, faces, people),
            reading_figures("judge", edits.photos, faces, people),
            reliability(faces),
            edit_figures(edits, people),
            response_figures(edits, people),
            identity,
            realism_figures(edits, train, people),
            invariance(fader, train, faces, latents),
        ),
    }
    if photos:
        editor = Editor(fader, estimator, next(fader.parameters()).device)
        metrics["whole_photos"] = whole_photo_figures(editor, judge, photos)
    return metrics


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
    for index, attribute in binary(faces.schema):
        score, truth = scores[:, index], faces.labels[:, index].long()
        result[attribute.name] = {
            f"{who}_balanced_accuracy": people.statistic(balanced_accuracy, score, truth),
            f"{who}_auc": people.statistic(_auc, score, truth),
        }
    return result


def reliability(faces: PreparedFaces) -> dict[str, dict[str, list[float | None]]]:
    """What an estimated value is worth: the share of photos with the label, by estimated value.

    From those below READ_AT's first to those above its last, either label given the same weight.
    """
    edges = torch.tensor(READ_AT)
    result = {}
    for index, attribute in binary(faces.schema):
        truth = faces.labels[:, index] > 0.5
        place = torch.bucketize(faces.values[:, index].contiguous(), edges)
        counts = [
            torch.bincount(place[chosen], minlength=len(edges) + 1) / chosen.sum().clamp(min=1)
            for chosen in (~truth, truth)
        ]
        without, with_it = counts
        shares = (with_it / (without + with_it)).tolist()
        result[attribute.name] = {
            "reliability": [None if math.isnan(s) else round(s, 3) for s in shares]
        }
    return result


def edit_figures(edits: Edits, people: People) -> dict[str, dict[str, Any]]:
    """For each binary attribute and direction: the share of faces that the edit carries across.

    The faces that count are judged to be on the other side of 0.5 before; so an editor that
    returned the photo would score 0. "label" moves the slider to 0 or 1, "end" to its end, "swap"
    is the mean of both directions. "side_effects" is the mean change of every other attribute's
    score at the end, in units of the distance between that attribute's average faces;
    "side_effect_ratio" what they have in the mean, over the change of the attribute itself; its
    "photos" is what to hold that against: the same of photos with and without the attribute, alike
    in all other labels (``overlap_weights``). A perfect edit would have it too: even of people
    without a beard, men look more like those who have one than women do.
    """
    result: dict[str, dict[str, Any]] = {}
    schema = edits.faces.schema
    weights = overlap_weights(schema, edits.faces.labels)
    for index, attribute in tqdm(list(binary(schema)), desc="Edits", leave=False):
        figures = result.setdefault(attribute.name, {"side_effects": {}, "side_effect_ratio": {}})
        for direction in DIRECTIONS:
            before = edits.photos[:, index]
            if not starts(before, direction).any():
                continue
            for place, strength in targets(attribute, direction).items():
                scores = edits.scores(index, strength)
                carried = crossed(before, scores[:, index], direction)
                figures[f"{direction}_at_{place}"] = people.mean(carried)
            change = (scores - edits.photos)[starts(before, direction)].mean(0)
            others = {
                other.name: round(change[column].item(), 3)
                for column, other in binary(schema)
                if column != index
            }
            figures["side_effects"][direction] = others
            figures["side_effect_ratio"][direction] = _side_effect_ratio(schema, index, change)
        has = edits.faces.labels[:, index] > 0.5
        if 0 < has.sum() < len(has):
            without, with_it = (
                torch.einsum("n,na->a", weights[rows, index], edits.photos[rows])
                / weights[rows, index].sum()
                for rows in (~has, has)
            )
            ratio = _side_effect_ratio(schema, index, with_it - without)
            figures["side_effect_ratio"]["photos"] = ratio
        figures |= swaps(figures)
    return result


def _side_effect_ratio(schema: AttributeSchema, index: int, change: Tensor) -> float | None:
    """Of a mean change of scores (attributes,): the others' size in the mean, over one's own."""
    others = [abs(change[column].item()) for column, _ in binary(schema) if column != index]
    own = abs(change[index].item())
    return round(sum(others) / len(others) / own, 3) if others and own else None


def response_figures(edits: Edits, people: People) -> dict[str, dict[str, Any]]:
    """How a slider answers over its whole length.

    "spearman": rank correlation of strength and judged score, the mean over faces. "monotone":
    share of faces whose score never falls as the strength rises. "response": the mean score at
    each strength. "half_cross": for either direction the strength at which half of the faces that
    start on the other side of 0.5 have crossed it, None if they do so nowhere on the slider.
    """
    result: dict[str, dict[str, Any]] = {}
    for index, attribute in tqdm(
        list(binary(edits.faces.schema)), desc="Slider response", leave=False
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
            "half_cross": {
                direction: _half_cross(edits.photos[:, index], strengths, scores, direction)
                for direction in DIRECTIONS
            },
        }
    return result


def _half_cross(
    before: Tensor, strengths: Tensor, scores: Tensor, direction: Direction
) -> float | None:
    """Where half of the faces have crossed, from scores (N, K) at rising strengths (K,).

    The share that has crossed is taken to be linear between two strengths.
    """
    if direction == "off":
        strengths, scores = strengths.flip(0), scores.flip(1)
    shares = crossed(before[:, None], scores, direction).nanmean(0).tolist()
    steps = zip(pairwise(strengths.tolist()), pairwise(shares), strict=True)
    for (start, end), (fewer, more) in steps:
        if fewer < 0.5 <= more:
            return round(start + (end - start) * (0.5 - fewer) / (more - fewer), 3)
    return None


def identity_figures(edits: Edits) -> tuple[dict[str, float], dict[str, dict[str, Any]]]:
    """Mean cosine of face embeddings: what an edit's is to be held against, and the edits' own.

    An edit is held against its photo, at either end of each slider, EMBEDDED faces at most.
    "same_person": the share of edits nearer to it than all but STRANGERS of the pairs of two people
    are to each other, the "threshold"; "one_person_same" is that of two photos of one person.
    (dlib's own threshold, a distance of 0.6, would take most of these aligned photos of two people
    for one.)
    "unchanged_rank_correlation", over all of these edits: of cosine and ``unchanged``, the share
    that the page states.
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
    resampled = People(people)
    threshold = cosines[~alike].quantile(1 - STRANGERS)
    references = {
        "faces": len(chosen),
        "threshold": round(threshold.item(), 3),
        "one_person_same": round((cosines[alike & pairs] > threshold).double().mean().item(), 3),
        "one_person": round(cosines[alike & pairs].mean().item(), 3),
        "two_people": round(cosines[~alike].mean().item(), 3),
        "reconstruction": round(kept(edits.unedited[chosen]).mean().item(), 3),
    }
    result: dict[str, dict[str, Any]] = {}
    alike_after, share_after = [], []
    for index, attribute in tqdm(list(binary(edits.faces.schema)), desc="Identity", leave=False):
        ends = [edits.edited(chosen, index, end) for end in attribute.slider]
        off, on = (kept(pictures) for pictures in ends)
        result[attribute.name] = {
            "identity": {"off": round(off.mean().item(), 3), "on": round(on.mean().item(), 3)},
            "same_person": {
                "off": resampled.mean((off > threshold).double()),
                "on": resampled.mean((on > threshold).double()),
            },
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
    known = invert(fader, train), train.labels
    unseen = latents, faces.labels
    result: dict[str, dict[str, float]] = {}
    for name, hidden in (("probe_linear", 0), ("probe_mlp", 256)):
        for attribute, auc in probe_auc(fader.schema, known, unseen, hidden, steps=1500).items():
            result.setdefault(attribute, {})[name] = round(auc, 4)
    return result


def contact_sheets(
    fader: Fader, estimator: AttributeEstimator, faces: PreparedFaces, folder: Path, shown: int
) -> list[Path]:
    """Two pictures, a row a face: photo, reconstruction, then both ends of each slider.

    "decoder.png" shows what the decoder draws, "product.png" the photo with the edit added.
    """
    folder.mkdir(parents=True, exist_ok=True)
    faces = faces.thinned(shown)
    faces.read_values(estimator, estimator.anchors)
    edits = EditedFaces(fader, faces, invert(fader, faces))
    everyone = torch.arange(len(faces))
    photos = faces.batch(everyone).images
    told = [fader.schema.amplify(faces.values, e) for e in slider_ends(fader.schema, faces.values)]
    decoded = [edits.decoded(everyone, values) for values in told]
    edited = [edits.blended(everyone, *each) for each in zip(told, decoded, strict=True)]
    paths = []
    for name, columns in (("decoder", decoded), ("product", edited)):
        cells = torch.stack([photos, edits.unedited, *columns], dim=1).flatten(0, 1)
        sheet = make_grid(cells.clamp(-1, 1).add(1).div(2), nrow=2 + len(columns), padding=1)
        pixels = sheet.mul(255).round().byte().permute(1, 2, 0).numpy()
        paths.append(folder / f"{name}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def _auc(scores: Tensor, truth: Tensor) -> float:
    return binary_auroc(scores, truth).item()


def _merged(*parts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    names = {name: None for part in parts for name in part}
    return {name: {k: v for part in parts for k, v in part.get(name, {}).items()} for name in names}


if __name__ == "__main__":
    sys.exit(main())
