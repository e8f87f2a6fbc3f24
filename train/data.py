"""Prepared faces, read from the memory-mapped array that ``train.prepare`` writes."""

from __future__ import annotations

import copy
import csv
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from fader_demo import inversion
from fader_demo.attributes import AttributeSchema
from fader_demo.estimator import AttributeEstimator
from fader_demo.model import Fader


class DatasetError(ValueError):
    """A prepared folder that is missing, damaged, or lacks an attribute; the message says which."""


@dataclass(frozen=True)
class Batch:
    """Faces (N, 3, S, S) in [-1, 1], their labels and their values, (N, attributes) each.

    Labels are what the data set says, values what the decoder is told: see ``PreparedFaces``.
    """

    images: Tensor
    labels: Tensor
    values: Tensor

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.images, self.labels, self.values

    def to(self, device: torch.device) -> Batch:
        images = self.images.to(device, memory_format=torch.channels_last)
        return Batch(images, self.labels.to(device), self.values.to(device))


class PreparedFaces:
    """One split of a prepared data set; images stay on disk until they are asked for, or ``hold``.

    columns: where an attribute's labels are found, by default in the column of its own name.
    "not X" reads column X and swaps 0 and 1 (Beard from CelebA's No_Beard).

    labels (N, attributes) are the data set's. values are the labels until ``read_values`` puts
    there what an estimator reads: how broad a smile is and not just that it is one. A decoder told
    the label alone has to take the rest of the smile from the latent, which then holds on to it.

    image_size: pixels a side, by default those on disk, which it has to divide.
    """

    def __init__(
        self,
        folder: str | Path,
        split: str,
        schema: AttributeSchema,
        columns: Mapping[str, str] | None = None,
        image_size: int | None = None,
    ) -> None:
        folder = Path(folder)
        try:
            self.images = np.load(folder / "images.npy", mmap_mode="r")
            json.loads((folder / "dataset.json").read_text())
            with (folder / "table.csv").open(newline="") as file:
                rows = list(csv.DictReader(file))
        except (OSError, ValueError) as error:
            raise DatasetError(
                f"{folder} holds no prepared faces ({error}). Make them with: "
                f"python -m train.prepare --out {folder} ..."
            ) from error
        if len(rows) != len(self.images):
            raise DatasetError(f"{folder}: table.csv and images.npy differ in length.")
        stored = int(self.images.shape[1])
        self.image_size = image_size or stored
        if stored % self.image_size:
            raise DatasetError(
                f"{folder} is {stored} px, of which {self.image_size} px is no whole part. Prepare "
                f"the data with --size {self.image_size}, or set model.image_size."
            )
        self.rows = np.array([i for i, row in enumerate(rows) if row["split"] == split])
        if not len(self.rows):
            raise DatasetError(f"{folder}: no photo is in the {split} split.")
        chosen = [rows[i] for i in self.rows]
        self.schema = schema
        self.split = split
        self.ids = [row["id"] for row in chosen]
        self.people = [row.get("person", "") or row["id"] for row in chosen]
        self.labels = torch.tensor(
            np.stack([_column(folder, chosen, name, columns or {}) for name in schema.names], 1)
        )
        self.values = self.labels
        self._held: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        """What ``hold`` takes."""
        return len(self) * self.images[0].nbytes

    def hold(self, device: torch.device) -> None:
        """Keeps the images on a device, which then makes the batches: sooner than a CPU can."""
        held = torch.empty(len(self), *self.images.shape[1:], dtype=torch.uint8, device=device)
        for part in torch.arange(len(self)).split(1024):
            held[part[0] : part[-1] + 1] = torch.from_numpy(self.images[self.rows[part.numpy()]])
        self._held = held

    def batch(self, indices: Tensor | np.ndarray, flip: Tensor | None = None) -> Batch:
        """The faces at ``indices`` (N,); those with ``flip`` (N,) true are mirrored."""
        chosen = torch.as_tensor(indices)
        if self._held is None:
            images = torch.from_numpy(self.images[self.rows[chosen.numpy()]])
        else:
            images = self._held[chosen.to(self._held.device)]
        images = images.permute(0, 3, 1, 2).to(torch.float32).div_(127.5).sub_(1)
        if images.shape[-1] > self.image_size:
            images = F.avg_pool2d(images, images.shape[-1] // self.image_size)
        if flip is not None:
            flip = flip.to(images.device)
            images = torch.where(flip[:, None, None, None], images.flip(3), images)
        images = images.contiguous(memory_format=torch.channels_last)
        return Batch(images, self.labels[chosen], self.values[chosen])

    def thinned(self, count: int) -> PreparedFaces:
        """At most ``count`` of the faces, evenly spread."""
        kept = torch.linspace(0, len(self) - 1, min(count, len(self))).long()
        fewer = copy.copy(self)
        fewer.rows = self.rows[kept.numpy()]
        fewer.ids = [self.ids[i] for i in kept]
        fewer.people = [self.people[i] for i in kept]
        fewer.labels, fewer.values = self.labels[kept], self.values[kept]
        fewer._held = None
        return fewer

    def read_values(
        self, estimator: AttributeEstimator, anchors: Tensor | None = None, batch_size: int = 64
    ) -> None:
        """Sets values to the estimator's readings, on anchors measured on these very faces.

        On training faces an estimator is surer of itself than on others; anchors of their own
        take that difference out. ``estimator.anchors`` in their stead reads the faces as uploads.
        """
        logits = predict(estimator, self, batch_size)
        if anchors is None:
            anchors = label_anchors(self.schema, logits, self.labels)
        self.values = estimator.values(logits, anchors)


def predict(network: nn.Module, faces: PreparedFaces, batch_size: int = 64) -> Tensor:
    """What a network puts out (N, ...) for every face of a split, in order."""
    device = next(network.parameters()).device
    with torch.inference_mode():
        parts = [
            network(faces.batch(part).images.to(device)).cpu()
            for part in torch.arange(len(faces)).split(batch_size)
        ]
    return torch.cat(parts).clone()


def encode(fader: Fader, faces: PreparedFaces) -> Tensor:
    """Latents (N, C, h, w) of every face of a split, in order, as the encoder makes them."""
    return _latents(fader, faces, fader.encode)


def invert(fader: Fader, faces: PreparedFaces) -> Tensor:
    """The same as an editor has them: fitted to each photo (``fader_demo.inversion``)."""
    return _latents(fader, faces, partial(inversion.invert, fader))


def _latents(
    fader: Fader, faces: PreparedFaces, latent_of: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    device = next(fader.parameters()).device
    with torch.inference_mode():
        parts = torch.arange(len(faces)).split(64)
        batches = (faces.batch(part).to(device) for part in parts)
        latents = [latent_of(batch.images, batch.values).cpu() for batch in batches]
    return torch.cat(latents).clone()


def label_anchors(
    schema: AttributeSchema, logits: Tensor, labels: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Logits (attributes, 2) of the average face labelled 0 and 1; (-1, 1) for other kinds.

    weights (N, attributes): how much a face counts for an attribute's averages, by default as much
    as any other.
    """
    anchors = torch.tensor([[-1.0, 1.0]]).repeat(len(schema), 1)
    weights = torch.ones(labels.shape) if weights is None else weights
    for index, (attribute, part) in enumerate(
        zip(schema, schema.split_prediction(logits), strict=True)
    ):
        positive = labels[:, index] > 0.5
        if attribute.kind == "binary" and 0 < positive.sum() < len(positive):
            for label, chosen in enumerate((~positive, positive)):
                weight = weights[chosen, index]
                anchors[index, label] = part[chosen, 0] @ weight / weight.sum()
    return anchors


def balanced_weights(schema: AttributeSchema, labels: Tensor) -> Tensor:
    """Sampling weights (N,), mean 1, that let rare labels be seen.

    Equal to drawing an attribute, then one of its labels, then a face with that label, each
    uniformly. Continuous attributes count by their soft bins.
    """
    weights = torch.zeros(len(labels), dtype=torch.float64)
    for attribute, part in zip(schema, schema.split_prediction(schema.target(labels)), strict=True):
        classes = torch.cat([1 - part, part], 1) if attribute.kind == "binary" else part
        frequency = classes.double().mean(0)
        share = torch.where(frequency > 0, 1 / frequency.clamp(min=1e-9), frequency)
        weights += classes.double() @ share / (frequency > 0).sum()
    return weights / weights.mean()


def overlap_weights(schema: AttributeSchema, labels: Tensor) -> Tensor:
    """Labels (N, attributes) -> weights (N, attributes), 0..1, of faces for a binary attribute.

    Under them faces with and without it agree in all other labels: each weighs as much as those
    speak for the label that it has not (Li, Morgan and Zaslavsky 2018, arXiv 1404.1785), much where
    both kinds of face are found and nothing where one is. 1 for attributes of other kinds, alone,
    or with the same label everywhere.
    """
    weights = torch.ones(labels.shape)
    code = list(schema.encode(labels).split([attribute.code_size for attribute in schema], dim=1))
    for index, attribute in enumerate(schema):
        own = labels[:, index] > 0.5
        others = [*code[:index], *code[index + 1 :]]
        if attribute.kind == "binary" and 0 < own.sum() < len(own) and others:
            known = torch.cat(others, dim=1).numpy()
            model = LogisticRegression(max_iter=1000).fit(known, own.numpy())
            likely = torch.from_numpy(model.predict_proba(known)[:, 1]).to(weights.dtype)
            weights[:, index] = torch.where(own, 1 - likely, likely)
    return weights


class BatchSampler:
    """Batches by step number: the order is a function of (seed, step), so a resumed run sees
    exactly what an uninterrupted one would have.

    In a run of several processes each takes its own part of every batch. left_out: (N,), true for
    faces that are in no batch.
    """

    def __init__(
        self,
        faces: PreparedFaces,
        batch_size: int,
        seed: int,
        rank: int = 0,
        processes: int = 1,
        left_out: Tensor | None = None,
    ) -> None:
        if batch_size % processes:
            raise ValueError(f"batch_size {batch_size} does not divide over {processes} processes.")
        self.faces = faces
        self.batch_size = batch_size
        self.seed = seed
        self.part = slice(rank, None, processes)
        kept = torch.ones(len(faces), dtype=torch.bool) if left_out is None else ~left_out
        self.weights = torch.zeros(len(faces), dtype=torch.float64)
        self.weights[kept] = balanced_weights(faces.schema, faces.labels[kept])
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.long)

    @property
    def prior(self) -> Tensor:
        """Mean target (schema.prediction_size,) of the faces as they are sampled."""
        target = self.faces.schema.target(self.faces.labels)
        weights = self.weights / self.weights.mean()
        return (target * weights[:, None].to(target.dtype)).mean(0)

    def __call__(self, step: int) -> Batch:
        """This process's part of a step's batch; each face is mirrored or not by itself."""
        steps_per_epoch = max(1, math.ceil(len(self.faces) / self.batch_size))
        epoch, position = divmod(step, steps_per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
            count = steps_per_epoch * self.batch_size
            self._order = torch.multinomial(self.weights, count, True, generator=generator)
            self._epoch = epoch
        chosen = self._order[position * self.batch_size :][: self.batch_size][self.part]
        flip = torch.rand(self.batch_size, generator=torch.Generator().manual_seed(step)) < 0.5
        return self.faces.batch(chosen, flip[self.part])


def _column(
    folder: Path, rows: list[dict[str, str]], name: str, columns: Mapping[str, str]
) -> np.ndarray:
    column = columns.get(name, name)
    swapped = column.startswith("not ")
    column = column.removeprefix("not ")
    if column not in rows[0]:
        raise DatasetError(
            f"{folder}/table.csv has no column {column!r} for attribute {name}. Name the column "
            "under 'columns' in the configuration, or take the attribute out."
        )
    values = []
    for row in rows:
        try:
            values.append(float(row[column]))
        except ValueError:
            raise DatasetError(
                f"{folder}/table.csv: photo {row['id']} has {row[column]!r} for {column}, "
                "which is no number."
            ) from None
    numbers = np.array(values, dtype=np.float32)
    return 1 - numbers if swapped else numbers
