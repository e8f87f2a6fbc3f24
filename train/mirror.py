"""A decoder learns to draw the mean of its edits of a face and of the face's mirror image.

The dots and weaves that a decoder draws are its own: of a face and of its mirror image it draws
others, in the mean of both edits few of them are left. To draw two at every move of a slider would
take twice as long; one decoder learns it, from the decoder that it was and with no critic (a
self-distillation over augmentations, as Radosavovic et al. 2018, arXiv 1712.04440, have it for
detection). Latents stay as they are.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from fader_demo.attributes import AttributeSchema
from fader_demo.inversion import fit
from fader_demo.model import Fader
from train.data import PreparedFaces
from train.trainer import TrainerSettings

NEARER_END = 0.12
"""Chance that a slider moves to the end that is nearer: a smile that grows broader still."""
ALSO_MOVED = 0.3
"""Sliders that move besides the one that does, in the mean."""
LATENT_NOISE = 0.03
"""Standard deviation of the noise on the latents that the decoder learns from."""
RECONSTRUCTION = 0.7
"""Weight of the squared error of unedited faces, beside that of edits."""
WARM_UP, DECAY_START, FINAL_RATE = 20, 0.3, 0.03
"""Steps in which the learning rate rises; the part of all steps from which on it falls, linearly;
what is left of it at the end."""
AVERAGE_DECAY = 0.98
FIT_BATCH = 64


@dataclass(frozen=True)
class MirrorSettings:
    """faces: of the training's, whose latents are fitted. batch_size: faces a step, each with its
    mirror image. With 0 steps, as by default, a decoder is left as it was trained.
    """

    faces: int = 3_000
    batch_size: int = 24
    learning_rate: float = 2e-4
    trainer: TrainerSettings = field(default_factory=lambda: TrainerSettings(steps=0))

    def learning_rate_at(self, step: int) -> float:
        progress = step / max(1, self.trainer.steps)
        fallen = max(0.0, progress - DECAY_START) / (1 - DECAY_START)
        return self.learning_rate * min(1, (step + 1) / WARM_UP, 1 - (1 - FINAL_RATE) * fallen)


def fitted_pairs(fader: Fader, faces: PreparedFaces) -> Tensor:
    """Latents (2, N, C, h, w) of the faces and of their mirror images, as an editor has them.

    They are fitted, which takes a CPU some 0.2 s for each pair, and erased, with moments measured
    on themselves, which are left in ``fader.fitted_erasure``. The Fader must be in eval mode.
    """
    device = next(fader.parameters()).device
    fitted: list[Tensor] = []
    for part in tqdm(torch.arange(len(faces)).split(FIT_BATCH), "Fitting latents", unit="batch"):
        batch = faces.batch(part).to(device)
        both = torch.cat([batch.images, batch.images.flip(3)])
        latents = fit(fader, both, batch.values.repeat(2, 1))
        fitted.append(torch.stack(latents.chunk(2)))
    latents = torch.cat(fitted, 1).flatten(0, 1)
    code, label = (
        fader.schema.encode(table.to(device)).repeat(2, 1) for table in (faces.values, faces.labels)
    )
    with torch.no_grad():
        fader.fitted_erasure.gather(latents, code, label, 1.0)
        return torch.stack(fader.fitted_erasure(latents, code).chunk(2))


@dataclass(frozen=True)
class Pairs:
    """latents: (2, N, C, h, w), of faces and of their mirror images. values: (N, attributes), of
    either. images: (n, 3, S, S) in [-1, 1], the photos of the first n faces.
    """

    latents: Tensor
    values: Tensor
    images: Tensor


class PairSampler:
    """Pairs by step number, as ``BatchSampler`` has batches."""

    def __init__(
        self,
        faces: PreparedFaces,
        latents: Tensor,
        settings: MirrorSettings,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.faces = faces
        self.latents = latents
        self.batch_size = settings.batch_size
        self.seed = settings.trainer.seed
        self.part = slice(rank, None, processes)

    def __call__(self, step: int) -> Pairs:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        chosen = torch.randint(len(self.faces), (self.batch_size,), generator=generator)[self.part]
        device = self.latents.device
        batch = self.faces.batch(chosen[: max(1, len(chosen) // 4)])
        values = self.faces.values[chosen].to(device)
        return Pairs(self.latents[:, chosen.to(device)], values, batch.images.to(device))


class MirrorTask:
    """The decoder under the squared error from those means (a ``train.trainer.Task``).

    fader: trained, in eval mode. Its statistics are kept, since those of batches would wash edits
    out; its encoder and what is erased have no part in this.
    """

    def __init__(self, fader: Fader, settings: MirrorSettings, accelerator: Accelerator) -> None:
        self.settings = settings
        self.accelerator = accelerator
        self.trained = fader.requires_grad_(False)
        self.schema = fader.schema.to(accelerator.device)
        decoder = copy.deepcopy(fader.decoder).requires_grad_(True)
        self.average = AveragedModel(decoder, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE_DECAY))
        optimizer = torch.optim.Adam(
            decoder.parameters(), settings.learning_rate, betas=(0.9, 0.99), fused=True
        )
        self.decoder, optimizer = accelerator.prepare(decoder, optimizer)
        self.modules: dict[str, nn.Module] = {"decoder": self.decoder, "average": self.average}
        self.optimizers: dict[str, Any] = {"decoder": optimizer}

    def averaged_fader(self) -> Fader:
        """The Fader with the averaged weights of the decoder of the moment."""
        fader = copy.deepcopy(self.trained)
        fader.decoder.load_state_dict(self.average.module.state_dict())
        return fader

    def step(self, pairs: Pairs, step: int) -> dict[str, Tensor]:
        optimizer = self.optimizers["decoder"]
        for group in optimizer.param_groups:
            group["lr"] = self.settings.learning_rate_at(step)
        shown = len(pairs.images)
        told = self.schema.encode(random_moves(self.schema, pairs.values)).repeat(2, 1)
        own = self.schema.encode(pairs.values[:shown]).repeat(2, 1)
        latents = pairs.latents.flatten(0, 1)
        edits = mirrored_mean(self.trained.decoder(latents, told))
        photos = torch.cat([pairs.images, pairs.images.flip(3)])
        noisy = latents + LATENT_NOISE * torch.randn_like(latents)
        unedited = pairs.latents[:, :shown].flatten(0, 1)
        drawn = self.decoder(torch.cat([noisy, unedited]), torch.cat([told, own])).float()
        of_edits, of_photos = drawn.split([len(edits), len(photos)])
        logged = {
            "loss/mirror": F.mse_loss(of_edits, edits),
            "loss/reconstruction": F.mse_loss(of_photos, photos),
        }
        optimizer.zero_grad(set_to_none=True)
        loss = logged["loss/mirror"] + RECONSTRUCTION * logged["loss/reconstruction"]
        self.accelerator.backward(loss)
        optimizer.step()
        self.average.update_parameters(self.accelerator.unwrap_model(self.decoder))
        return logged


def mirrored_mean(pictures: Tensor) -> Tensor:
    """Pictures (2N, 3, S, S), of N faces and of their mirror images -> the mean of a face's two,
    for either the right way round: (2N, 3, S, S).
    """
    drawn, mirrored = pictures.chunk(2)
    mean = (drawn + mirrored.flip(3)) / 2
    return torch.cat([mean, mean.flip(3)])


def random_moves(schema: AttributeSchema, values: Tensor) -> Tensor:
    """Values (N, attributes) -> what the decoder is told when a slider is moved, at times two.

    Moves end anywhere between where a slider stands and an end of it, mostly the farther one: the
    farther, the more often, for there is more to draw.
    """
    low, high = torch.tensor([attribute.ends for attribute in schema], device=values.device).T
    far_is_low = values - low > high - values
    nearer = torch.rand_like(values) < NEARER_END
    end = torch.where(far_is_low ^ nearer, low, high)
    moved = torch.rand_like(values) < ALSO_MOVED / len(schema)
    first = torch.randint(len(schema), (len(values), 1), device=values.device)
    moved = moved.scatter(1, first, True)
    told = values.lerp(end, torch.rand_like(values).sqrt())
    choice = torch.tensor([a.kind == "categorical" for a in schema], device=values.device)
    return torch.where(moved, torch.where(choice, told.round(), told), values)
