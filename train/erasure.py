"""What of the labels is linear in latents that are fitted to their photos, measured."""

from __future__ import annotations

import copy
import math

import torch
from tqdm import tqdm

from fader_demo.inversion import invert
from fader_demo.model import Fader, LinearErasure
from train.data import PreparedFaces

BATCH = 128


def erase_fitted(fader: Fader, faces: PreparedFaces) -> None:
    """Fills ``fader.fitted_erasure``; the Fader must be in eval mode, and keeps all else.

    faces: the training's, with their values. Many, for a latent has thousands of numbers to fit:
    faces that were not among them are erased less well. Fitting takes a CPU some 0.1 s for each.
    """
    device = next(fader.parameters()).device
    nothing = LinearErasure(math.prod(fader.latent_shape), fader.schema.code_size)
    fader.fitted_erasure = nothing.to(device).eval()
    measured = copy.deepcopy(fader.fitted_erasure)
    seen = 0
    for part in tqdm(torch.arange(len(faces)).split(BATCH), "Fitting latents", unit="batch"):
        seen += len(part)
        batch = faces.batch(part).to(device)
        latent = invert(fader, batch.images, batch.values)
        code, label = map(fader.schema.encode, (batch.values, batch.labels))
        measured.gather(latent, code, label, len(part) / seen)
    fader.fitted_erasure = measured
