"""Where on an aligned face an attribute shows, so that its slider changes nothing elsewhere.

Measured on photos, not on edits: where faces that have an attribute differ from faces that have it
not and are alike in all other labels (``train.data.overlap_weights``), in colour or in texture. On
aligned faces that is where beards, glasses and fringes are. What a decoder draws elsewhere is what
came with the attribute in its photos, though not of it.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from fader_demo.attributes import REGION_SIDE, AttributeSchema
from train.data import PreparedFaces, overlap_weights
from train.edits import BATCH, binary

SIDE = 64
"""Pixels a side at which photos are compared."""
SEEN = (0.22, 0.45)
"""Difference, in parts of the largest, from which an attribute begins to show and at which it does.

By looking at edits of validation people: with less, blond hair still makes faces pale; with more,
ageing leaves out the cheeks.
"""
FEWEST_FACES = 100
"""Without as many of either label an attribute is left to change all of a face."""


def located(schema: AttributeSchema, faces: PreparedFaces) -> AttributeSchema:
    """The schema with the regions of its binary attributes, but for those that have one."""
    if all(attribute.region for _, attribute in binary(schema)):
        return schema
    attributes = list(schema)
    regions = _regions(_differences(schema, faces))
    for index, attribute in binary(schema):
        labelled = (faces.labels[:, index] > 0.5).sum().item()
        if not attribute.region and FEWEST_FACES <= labelled <= len(faces) - FEWEST_FACES:
            rows = tuple("".join(map(str, row)) for row in regions[index].tolist())
            attributes[index] = replace(attribute, region=rows)
    return AttributeSchema(attributes)


def _differences(schema: AttributeSchema, faces: PreparedFaces) -> Tensor:
    """Mean features of faces with each attribute less those of faces without, in their standard
    deviations: (attributes, 4, SIDE, SIDE), not negative."""
    weights = overlap_weights(schema, faces.labels)
    with_it = (faces.labels > 0.5).float()
    # Of each attribute: the faces' sum without and with it; of all: the sum of squares.
    sums, counts = torch.zeros(2, len(schema), 4, SIDE, SIDE), torch.zeros(2, len(schema))
    total, squares = torch.zeros(4, SIDE, SIDE), torch.zeros(4, SIDE, SIDE)
    parts = torch.arange(len(faces)).split(BATCH)
    for part in tqdm(parts, "Measuring where attributes show", unit="batch"):
        features = _features(faces.batch(part).images)
        features = (features + features.flip(3)) / 2  # training mirrors half of the faces
        label = with_it[part]
        share = weights[part] * torch.stack([1 - label, label])
        sums += torch.einsum("lna,nchw->lachw", share, features)
        counts += share.sum(1)
        total += features.sum(0)
        squares += features.square().sum(0)
    without, have = sums / counts.clamp(min=1e-9)[:, :, None, None, None]
    spread = (squares / len(faces) - (total / len(faces)).square()).clamp(min=1e-9).sqrt()
    return (have - without).abs() / spread


def _features(images: Tensor) -> Tensor:
    """Images (N, 3, S, S) -> (N, 4, SIDE, SIDE): colour, and how much brightness varies nearby."""
    fine = F.adaptive_avg_pool2d(images, 2 * SIDE)
    grey = fine.mean(1, keepdim=True)
    texture = (grey - F.avg_pool2d(grey, 5, 1, 2, count_include_pad=False)).abs()
    return F.avg_pool2d(torch.cat([fine, texture], dim=1), 2)


def _regions(differences: Tensor) -> Tensor:
    """(attributes, 4, SIDE, SIDE) -> digits (attributes, REGION_SIDE, REGION_SIDE)."""
    shown = torch.stack([differences[:, :3].amax(1), differences[:, 3]])  # in colour, in texture
    shown = shown / shown.amax((2, 3), keepdim=True).clamp(min=1e-9)
    # Grown first: a difference passes through nothing where it turns from lighter to darker.
    grown = F.max_pool2d(shown.amax(0)[:, None], 5, 1, 2)
    cells = F.avg_pool2d(grown, SIDE // REGION_SIDE)[:, 0]
    low, high = SEEN
    share = ((cells - low) / (high - low)).clamp(0, 1)
    return (share.square() * (3 - 2 * share) * 9).round().int()
