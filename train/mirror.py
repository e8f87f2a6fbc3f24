"""A decoder learns to draw the mean of its edits of several views of a face.

The dots and weaves that a decoder draws are its own: of a face and of its mirror image it draws
others, in the mean of both edits few of them are left. To draw two at every move of a slider would
take twice as long; one decoder learns it, from the decoder that it was and with no critic (a
self-distillation over augmentations, as Radosavovic et al. 2018, arXiv 1712.04440, have it for
detection). Latents stay as they are.

Hair, whose every strand may lie elsewhere, gains more from views that are moved by some pixels
besides. A mouth or an eye would be fainter: a decoder knows aligned faces alone.

What no photo shows, a beard on a woman, a decoder hardly draws, but it does on the same face told
to be a man. So it learns that edit: what the beard changes on the man, put on the woman. And where
some faces answer sooner than others, so that one strength is too much for these and too little for
those, it learns to go less far on the former.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
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
class View:
    """A face seen again. down, right: how far it is moved, over the picture's side. mirrored: then
    it is turned round.
    """

    down: float = 0.0
    right: float = 0.0
    mirrored: bool = False

    def of(self, images: Tensor) -> Tensor:
        """Images (N, C, S, S) -> the same, seen so; what comes in repeats the edge."""
        size = images.shape[3]
        lines = torch.arange(size, device=images.device)
        rows, columns = (
            (lines - round(move * size)).clamp(0, size - 1) for move in (self.down, self.right)
        )
        moved = images[:, :, rows][:, :, :, columns]
        return moved.flip(3) if self.mirrored else moved

    def undone(self, pictures: Tensor) -> Tensor:
        """Pictures (N, C, S, S) seen so -> as they lay before, 0 where there was nothing to see."""
        down, right = (round(move * pictures.shape[3]) for move in (self.down, self.right))
        turned = pictures.flip(3) if self.mirrored else pictures
        return F.pad(turned, (-right, right, -down, down))


MIRRORED = (View(), View(mirrored=True))
"""A face, and its mirror image."""
MOVED = tuple(
    View(down, right, mirrored)
    for down, right in ((0.04, -0.024), (-0.04, 0.024))
    for mirrored in (False, True)
)


@dataclass(frozen=True)
class MirrorSettings:
    """faces: of the training's, whose latents are fitted. batch_size: faces a step, each with its
    mirror image. moved: attributes whose edits are the mean over moved views too. put_on_as:
    {attribute: {other: (low, high)}}, an edit that puts the attribute on is drawn as on a face
    whose others lie within these ranges. put_on_part: {attribute: {other: (at_0, at_1)}}, the part
    of the way that it is put on, from where the other is 0 to where it is 1. Attributes that the
    model lacks are passed over in all three.
    With 0 steps, as by default, a decoder is left as it was trained.
    """

    faces: int = 3_000
    moved: list[str] = field(default_factory=list)
    put_on_as: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    put_on_part: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    batch_size: int = 24
    learning_rate: float = 2e-4
    trainer: TrainerSettings = field(default_factory=lambda: TrainerSettings(steps=0))

    def views(self, schema: AttributeSchema) -> tuple[View, ...]:
        """A face and its mirror image, and moved ones if an attribute of the model wants them."""
        return (*MIRRORED, *MOVED) if {*self.moved} & {*schema.names} else MIRRORED

    def learning_rate_at(self, step: int) -> float:
        progress = step / max(1, self.trainer.steps)
        fallen = max(0.0, progress - DECAY_START) / (1 - DECAY_START)
        return self.learning_rate * min(1, (step + 1) / WARM_UP, 1 - (1 - FINAL_RATE) * fallen)


def fitted_views(fader: Fader, faces: PreparedFaces, views: Sequence[View]) -> Tensor:
    """Latents (views, N, C, h, w) of the faces in each view, as an editor has them.

    They are fitted, which takes a CPU some 0.1 s for each, and erased, with moments measured on
    themselves, which are left in ``fader.fitted_erasure``. The Fader must be in eval mode.
    """
    device = next(fader.parameters()).device
    fitted: list[Tensor] = []
    for part in tqdm(torch.arange(len(faces)).split(FIT_BATCH), "Fitting latents", unit="batch"):
        batch = faces.batch(part).to(device)
        seen = (view.of(batch.images) for view in views)
        fitted.append(torch.stack([fit(fader, images, batch.values) for images in seen]))
    latents = torch.cat(fitted, 1).flatten(0, 1)
    code, label = (
        fader.schema.encode(table.to(device)).repeat(len(views), 1)
        for table in (faces.values, faces.labels)
    )
    with torch.no_grad():
        fader.fitted_erasure.gather(latents, code, label, 1.0)
        return fader.fitted_erasure(latents, code).unflatten(0, (len(views), len(faces)))


@dataclass(frozen=True)
class Viewed:
    """Some faces. latents: (views, N, C, h, w). values: (N, attributes), in any view. images:
    (n, 3, S, S) in [-1, 1], the photos of the first n of them.
    """

    latents: Tensor
    values: Tensor
    images: Tensor


class ViewSampler:
    """Faces by step number, as ``BatchSampler`` has batches."""

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

    def __call__(self, step: int) -> Viewed:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        chosen = torch.randint(len(self.faces), (self.batch_size,), generator=generator)[self.part]
        device = self.latents.device
        batch = self.faces.batch(chosen[: max(1, len(chosen) // 4)])
        values = self.faces.values[chosen].to(device)
        return Viewed(self.latents[:, chosen.to(device)], values, batch.images.to(device))


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
        apart = {*settings.moved, *settings.put_on_as, *settings.put_on_part}
        self.apart = torch.tensor([each.name in apart for each in fader.schema])
        self.apart = self.apart.to(accelerator.device)
        self.views = settings.views(fader.schema)
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

    def step(self, faces: Viewed, step: int) -> dict[str, Tensor]:
        optimizer = self.optimizers["decoder"]
        for group in optimizer.param_groups:
            group["lr"] = self.settings.learning_rate_at(step)
        shown = len(faces.images)
        told = random_moves(self.schema, faces.values)
        edits = self.mean_edits(faces, told)
        told = self.schema.encode(told).repeat(2, 1)
        own = self.schema.encode(faces.values[:shown]).repeat(2, 1)
        pairs = faces.latents[:2]
        latents, unedited = pairs.flatten(0, 1), pairs[:, :shown].flatten(0, 1)
        photos = torch.cat([faces.images, faces.images.flip(3)])
        noisy = latents + LATENT_NOISE * torch.randn_like(latents)
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

    def mean_edits(self, faces: Viewed, told: Tensor) -> Tensor:
        """What is to be drawn of the faces and of their mirror images at values (N, attributes):
        (2N, 3, S, S).
        """
        kept = torch.where(self.apart, faces.values, told)
        mean = mean_over(MIRRORED, self._drawn(faces.latents[:2], kept))
        for index in self.apart.nonzero().flatten().tolist():
            after = kept.clone()
            after[:, index] = told[:, index]
            rows = after[:, index] != kept[:, index]
            if rows.any():
                mean[rows] += self._change(index, faces.latents[:, rows], kept[rows], after[rows])
            kept = after
        return torch.cat([mean, mean.flip(3)])

    def _change(self, index: int, latents: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """What is to be drawn of a change of attribute ``index``, from values (N, attributes) to
        others in which nothing else differs: (N, 3, S, S).
        """
        name = self.schema.names[index]
        views = self.views if name in self.settings.moved else MIRRORED
        put_on = after[:, index] > before[:, index]
        before, after = before.clone(), after.clone()
        for column, (at_0, at_1) in self._others(self.settings.put_on_part, name):
            part = at_0 + before[put_on, column].clamp(0, 1) * (at_1 - at_0)
            after[put_on, index] = before[put_on, index].lerp(after[put_on, index], part)
        for column, (low, high) in self._others(self.settings.put_on_as, name):
            held = before[put_on, column].clamp(low, high)
            before[put_on, column] = after[put_on, column] = held
        latents = latents[: len(views)]
        return mean_over(views, self._drawn(latents, after) - self._drawn(latents, before))

    def _others(
        self, settings: dict[str, dict[str, tuple[float, float]]], name: str
    ) -> list[tuple[int, tuple[float, float]]]:
        """What a setting says of attribute ``name``, by the columns of those that the model has."""
        named = settings.get(name, {}).items()
        return [(self.schema.index_of(o), pair) for o, pair in named if o in self.schema.names]

    def _drawn(self, latents: Tensor, values: Tensor) -> Tensor:
        """Latents (views, N, C, h, w), values (N, attributes) -> (views, N, 3, S, S)."""
        code = self.schema.encode(values).repeat(len(latents), 1)
        return self.trained.decoder(latents.flatten(0, 1), code).unflatten(0, latents.shape[:2])


def mean_over(views: Sequence[View], pictures: Tensor) -> Tensor:
    """Pictures (views, N, 3, S, S) -> their mean (N, 3, S, S), each as it lay before it was seen
    so; near the edges over those views that show them.
    """
    pairs = [*zip(views, pictures, strict=True)]
    drawn = torch.stack([view.undone(picture) for view, picture in pairs])
    seen = torch.stack([view.undone(torch.ones_like(picture[:1, :1])) for view, picture in pairs])
    return drawn.sum(0) / seen.sum(0)


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
