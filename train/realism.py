"""Realism of edits: how far their distribution is from that of real faces with the attribute."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from train.bootstrap import People, figure
from train.data import PreparedFaces, overlap_weights, predict
from train.edits import BATCH, DIRECTIONS, Direction, Edits, binary, targets
from train.judge import Judge

REAL_FACES = 5_000
"""Training faces, at most; edits are held against those among them that have the label."""

FEWEST_FACES = 20
"""With fewer on either side, as weighted faces count, a distance says nothing and is left out."""


class JudgeFeatures(nn.Module):
    """Aligned faces (N, 3, S, S) in [-1, 1] -> (N, D), what the judge's last layer reads."""

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self.judge = copy.deepcopy(judge)
        self.judge.network.fc = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        return self.judge(images)


class RealFaces:
    """Features (N, D) of real faces, and how much each counts (N,), to hold others against."""

    def __init__(self, features: Tensor, weights: Tensor) -> None:
        self.features = features.double()
        self.weights = weights.double() / weights.sum()
        self.count = _effective_size(weights)
        self.likeness = _likeness(self.features, self.weights[None])

    def distance(self, made: Tensor, weights: Tensor) -> Tensor:
        """KID of features (M, D), once for each row of weights (R, M): (R,).

        The unbiased estimate of the squared maximum mean discrepancy with the kernel
        (x y / D + 1)^3 (Binkowski et al. 2018, arXiv 1801.01401, section 4): about 0, or just
        below, of faces distributed alike and drawn one by one; more where few people have all of
        them (train/RESULTS.md, "KID of few people"). NaN where one face alone has a weight.
        """
        made, weights = made.double(), weights.double()
        weights = weights / weights.sum(1, keepdim=True)
        across = weights @ (_kernel(made, self.features) @ self.weights)
        return self.likeness + _likeness(made, weights) - 2 * across


def realism_figures(
    edits: Edits, train: PreparedFaces, people: People
) -> dict[str, dict[str, Any]]:
    """KID on the judge's features, from real faces that have the label an edit goes to.

    As these are not Inception's features, figures compare with each other and with no others. Real
    faces are of training people, never of those edited; intervals are over the latter. All faces
    weigh as ``overlap_weights`` says, so that either side is alike in the other labels: men who
    were shaven are held against men without a beard, not against all the women. For each binary
    attribute and direction:

    "on", "off": the faces without the label, edited with the slider at its end.
    "reconstruction_on", "reconstruction_off": unedited decodes of the faces that have the label:
    the same people and decoder, and no edit to make. An edit can still be nearer, as it keeps the
    photo's detail, which a decode has lost.
    "untouched_on", "untouched_off": the photos of the edited faces, as an editor that does nothing
    would return them.

    Each is a figure with "n", as many faces as the weighted ones are worth (Kish's effective size).
    """
    features = JudgeFeatures(edits.judge)
    train = train.thinned(REAL_FACES)
    real = predict(features, train)
    everyone = torch.arange(len(edits.faces))
    photos = predict(features, edits.faces)
    unedited = _features(features, everyone, lambda part: edits.unedited[part])
    schema = edits.faces.schema
    weights = overlap_weights(schema, torch.cat([train.labels, edits.faces.labels]))
    real_weights, weights = weights.split([len(train), len(edits.faces)])
    result: dict[str, dict[str, Any]] = {}
    for index, attribute in tqdm(list(binary(schema)), desc="Realism", leave=False):
        figures = result.setdefault(attribute.name, {"kid": {}})["kid"]
        for direction in DIRECTIONS:
            wanted = _labelled(train, index, direction)
            target = RealFaces(real[wanted], real_weights[wanted, index])
            has = _labelled(edits.faces, index, direction)
            have, lack = everyone[has], everyone[~has]
            sides = {
                f"reconstruction_{direction}": (have, unedited[have]),
                f"untouched_{direction}": (lack, photos[lack]),
            }
            if len(lack):
                end = targets(attribute, direction)["end"]
                edited = partial(edits.edited, index=index, strength=end)
                sides[direction] = (lack, _features(features, lack, edited))
            for name, (rows, made) in sides.items():
                own = weights[rows, index]
                count = _effective_size(own)
                if min(count, target.count) >= FEWEST_FACES:
                    resamples = torch.from_numpy(people.weights[:, rows.numpy()])
                    draws = torch.cat([torch.ones(1, len(rows)), resamples])
                    distance, *resampled = target.distance(made, draws * own).tolist()
                    figures[name] = figure(distance, resampled) | {"n": round(count)}
    return result


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _likeness(features: Tensor, weights: Tensor) -> Tensor:
    """Mean kernel of pairs of two of the features (N, D), for rows of weights (R, N), sum 1."""
    kernel = _kernel(features, features)
    squares = weights.square()
    pairs = ((weights @ kernel) * weights).sum(1) - squares @ kernel.diagonal()
    return pairs / (1 - squares.sum(1))


def _effective_size(weights: Tensor) -> float:
    return (weights.sum().square() / weights.square().sum().clamp(min=1e-12)).item()


def _labelled(faces: PreparedFaces, index: int, direction: Direction) -> Tensor:
    """(N,) of bool: the faces that have the label of a direction."""
    return (faces.labels[:, index] > 0.5) == (direction == "on")


@torch.inference_mode()
def _features(
    features: JudgeFeatures, rows: Tensor, pictures: Callable[[Tensor], Tensor]
) -> Tensor:
    """(n, D) of the pictures of the faces at ``rows`` (n,)."""
    return torch.cat([features(pictures(part)) for part in rows.split(BATCH)])
