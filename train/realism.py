"""Realism of edits: how far their distribution is from that of real faces with the attribute."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance
from tqdm import tqdm

from train.data import PreparedFaces, predict
from train.edits import BATCH, DIRECTIONS, Direction, Edits, binary, targets
from train.judge import Judge

REAL_FACES = 5_000
"""Training faces, at most; edits are held against those among them that have the label."""

FEWEST_FACES = 30
"""With fewer on either side, a distance says nothing and is left out."""

SUBSET = 300
"""Faces of either side in one subset, at most."""

SUBSETS = 50
"""How many there are, drawn at random; a distance is the mean of theirs."""


class JudgeFeatures(nn.Module):
    """Aligned faces (N, 3, S, S) in [-1, 1] -> (N, D), what the judge's last layer reads."""

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self.judge = copy.deepcopy(judge)
        self.judge.network.fc = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.judge(images)


def kernel_distance(real: Tensor, made: Tensor) -> float:
    """KID of features (N, D) and (M, D): about 0, or just below, if they are distributed alike."""
    size = min(SUBSET, len(real), len(made))
    metric = KernelInceptionDistance(nn.Identity(), subsets=SUBSETS, subset_size=size)
    metric.update(real, real=True)
    metric.update(made, real=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return metric.compute()[0].item()


def realism_figures(edits: Edits, train: PreparedFaces) -> dict[str, dict[str, Any]]:
    """KID on the judge's features, from real faces that have the label an edit goes to.

    As these are not Inception's features, figures compare with each other and with no others. Real
    faces are of training people, never of those edited. For each binary attribute and direction:

    "on", "off": the faces without the label, edited with the slider at its end.
    "reconstruction_on", "reconstruction_off": unedited decodes of the faces that have the label:
    the same people and decoder, and no edit to make. An edit can still be nearer, as it keeps the
    photo's detail, which a decode has lost.
    "untouched_on", "untouched_off": the photos of the edited faces, as an editor that does nothing
    would return them.

    Each is {"kid", "n"}, n being the faces held against the real ones.
    """
    features = JudgeFeatures(edits.judge)
    train = train.thinned(REAL_FACES)
    real = predict(features, train)
    everyone = torch.arange(len(edits.faces))
    photos = predict(features, edits.faces)
    unedited = _features(features, everyone, lambda part: edits.unedited[part])
    result: dict[str, dict[str, Any]] = {}
    for index, attribute in tqdm(list(binary(edits.faces.schema)), desc="Realism", leave=False):
        figures = result.setdefault(attribute.name, {"kid": {}})["kid"]
        for direction in DIRECTIONS:
            have = _labelled(edits.faces, index, direction)
            lack = everyone[~have]
            made = {
                f"reconstruction_{direction}": unedited[have],
                f"untouched_{direction}": photos[lack],
            }
            if len(lack) >= FEWEST_FACES:
                end = targets(attribute, direction)["end"]
                edited = partial(edits.edited, index=index, strength=end)
                made[direction] = _features(features, lack, edited)
            held_against = real[_labelled(train, index, direction)]
            for name, faces in made.items():
                if min(len(faces), len(held_against)) >= FEWEST_FACES:
                    distance = kernel_distance(held_against, faces)
                    figures[name] = {"kid": round(distance, 4), "n": len(faces)}
    return result


def _labelled(faces: PreparedFaces, index: int, direction: Direction) -> Tensor:
    """(N,) of bool: the faces that have the label of a direction."""
    return (faces.labels[:, index] > 0.5) == (direction == "on")


@torch.inference_mode()
def _features(
    features: JudgeFeatures, rows: Tensor, pictures: Callable[[Tensor], Tensor]
) -> Tensor:
    """(n, D) of the pictures of the faces at ``rows`` (n,)."""
    return torch.cat([features(pictures(part)) for part in rows.split(BATCH)])
