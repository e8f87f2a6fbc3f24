"""What is linear in the labels, measured over a data set: of latents as encoded, and as fitted."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from tqdm import tqdm

from fader_demo.attributes import AttributeSchema
from fader_demo.inversion import fit
from fader_demo.model import Fader, LinearErasure
from train.data import Batch, PreparedFaces

BATCH = 128


def measure(
    erasure: LinearErasure,
    schema: AttributeSchema,
    faces: PreparedFaces,
    parts: Iterable[Tensor],
    latent_of: Callable[[Batch], Tensor],
) -> None:
    """Puts plain means over the faces into the erasure's moments, in place of those it had.

    parts: indices of faces, batch by batch. latent_of: a batch's latents (N, C, h, w).
    """
    seen = 0
    for part in parts:
        seen += len(part)
        batch = faces.batch(part).to(erasure.latent.device)
        code, label = map(schema.encode, (batch.values, batch.labels))
        erasure.gather(latent_of(batch), code, label, len(part) / seen)


def erase_fitted(fader: Fader, faces: PreparedFaces) -> None:
    """Fills ``fader.fitted_erasure``; the Fader must be in eval mode, and keeps all else.

    faces: the training's, with their values. Many, for a latent has thousands of numbers to fit:
    faces that were not among them are erased less well. Fitting takes a CPU some 0.1 s for each.
    """
    parts = tqdm(torch.arange(len(faces)).split(BATCH), "Fitting latents", unit="batch")

    def fitted(batch: Batch) -> Tensor:
        return fit(fader, batch.images, batch.values)

    measure(fader.fitted_erasure, fader.schema, faces, parts, fitted)
