"""The Fader objective: one update of the latent discriminator and of encoder and decoder."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from fader_demo.blending import blend, confine
from fader_demo.model import Fader, smooth
from train.augmentation import augment
from train.critic import (
    Critic,
    Edit,
    PhotoCritic,
    adversarial_edit_loss,
    adversarial_photo_loss,
    critic_loss,
    photo_loss,
    random_edit,
    roughness,
    told_apart,
)
from train.data import Batch, BatchSampler
from train.discriminator import LatentDiscriminator
from train.erasure import measure
from train.graph import CapturedUpdate, Update
from train.losses import (
    AdversaryTarget,
    adversarial_loss,
    balanced,
    block_error,
    change_loss,
    prediction_loss,
)
from train.trainer import average_decay

FINAL_RATE = 0.05
"""What is left of a learning rate at the end of its fall."""
ROUGHNESS = 0.5
"""Weight of a critic's ``roughness``."""


@dataclass(frozen=True)
class Guidance:
    """Edits shown to two critics, from step ``start`` on, their weight rising over rise_steps.

    What the latent discriminator leaves in the latent, the decoder need not take from the code;
    the critic of labels makes it listen, and that of photos keeps stains out of what it draws.
    weight: of either's loss. sparsity: weight of ``change_loss``, which leaves alone what the
    critics do not ask to be changed. critic_width: first channels of the critic of labels.
    """

    weight: float = 0.0
    sparsity: float = 0.0
    start: int = 0
    rise_steps: int = 1
    critic_width: int = 32

    def weight_at(self, step: int) -> float:
        return self.weight * min(1.0, max(0, step + 1 - self.start) / max(1, self.rise_steps))


@dataclass(frozen=True)
class Objective:
    """Defaults are those of the paper (sections 3.2 and 4.1) and of its released code.

    lambda_e rises linearly from 0 over rise_steps. adversary_target: what encoder and decoder want
    the discriminator to say (see ``adversarial_loss``). latent_noise: standard deviation of the
    noise on the normalised latent. learning_rate: from decay_start on it falls, linearly over
    decay_steps (for 0 never), to FINAL_RATE of itself. average_decay: of the exponential average of
    the weights, less in the first steps. tint: weight of ``block_error`` beside the squared error
    of pixels, which hardly sees that a face has a wrong colour. held: the half that stays as it was
    started from, while the other learns to serve it; guidance, which is for decoders, has no use
    where the decoder is held.
    """

    lambda_e: float = 1e-4
    rise_steps: int = 500_000
    adversary_target: AdversaryTarget = "flipped"
    discriminator_steps: int = 1
    discriminator_width: int = 512
    discriminator_dropout: float = 0.3
    latent_noise: float = 0.0
    learning_rate: float = 2e-4
    decay_start: int = 0
    decay_steps: int = 0
    betas: tuple[float, float] = (0.5, 0.999)
    clip_norm: float = 5.0
    average_decay: float = 0.999
    tint: float = 0.0
    held: Literal["neither", "encoder", "decoder"] = "neither"
    guidance: Guidance = field(default_factory=Guidance)

    def lambda_at(self, step: int) -> float:
        return self.lambda_e * min(1.0, (step + 1) / max(1, self.rise_steps))

    def learning_rate_at(self, step: int) -> float:
        if not self.decay_steps:
            return self.learning_rate
        progress = min(1.0, max(0, step - self.decay_start) / self.decay_steps)
        return self.learning_rate * (1 - (1 - FINAL_RATE) * progress)


class FaderTask:
    """Encoder and decoder against the latent discriminator (a ``train.trainer.Task``).

    With a lambda_e of 0 there is none.

    One encoder pass a step serves both: the discriminator steps first, on the latent cut off
    from its graph, then encoder and decoder do, through the graph kept. On a GPU of its own, a
    step is replayed as one CUDA graph.

    average: the fader with averaged weights, and statistics of its own from ``averaged_fader`` on.
    """

    def __init__(
        self,
        fader: Fader,
        objective: Objective,
        prior: Tensor,
        accelerator: Accelerator,
    ) -> None:
        device, layout = accelerator.device, torch.channels_last
        self.objective = objective
        self.schema = fader.schema.to(device)
        self.accelerator = accelerator
        # What changes with the steps is in tensors, which a CUDA graph reads anew.
        self._lambda_e, self._guidance, self._renewal = torch.zeros(3, device=device).unbind()
        fader = fader.to(device, memory_format=layout)  # type: ignore[call-overload]
        if objective.held != "neither":
            getattr(fader, objective.held).eval().requires_grad_(False)
        self.average = copy.deepcopy(fader).requires_grad_(False)
        networks: dict[str, nn.Module] = {"fader": fader}
        if objective.lambda_e:
            networks["discriminator"] = self._new_discriminator(fader)
        if objective.guidance.weight:
            width = objective.guidance.critic_width
            networks["critic"] = Critic(self.schema, fader.image_size, width)
            networks["photo_critic"] = PhotoCritic(fader.image_size)
        prepared = {
            name: accelerator.prepare(
                network.to(device, memory_format=layout),  # type: ignore[call-overload]
                self._adam(network),
            )
            for name, network in networks.items()
        }
        self.optimizers: dict[str, Any] = {name: pair[1] for name, pair in prepared.items()}
        self.modules: dict[str, nn.Module] = {name: pair[0] for name, pair in prepared.items()}
        self.modules["average"] = self.average
        self.fader = self.modules["fader"]
        self._updates: dict[bool, Update] = {}
        self.aim: Any = "flipped"
        if objective.adversary_target == "prior":
            self.aim = prior.to(device)

    def step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        self._pace(step)
        guided = self.objective.guidance.weight_at(step) > 0
        if guided not in self._updates:  # the other's graph, and its memory, are let go
            self._updates = {guided: self._in_one(partial(self._update_all, guided))}
        return self._updates[guided](batch.to(self.accelerator.device))

    def _in_one(self, update: Update) -> Update:
        """Processes that train together have to meet within a step, which no graph can hold."""
        alone = self.accelerator.num_processes == 1
        return CapturedUpdate(update) if alone and self._on_gpu else update

    @property
    def _on_gpu(self) -> bool:
        return self.accelerator.device.type == "cuda"

    def _update_all(self, guided: bool, batch: Batch) -> dict[str, Tensor]:
        images, labels, values = batch.images, batch.labels, batch.values
        target = self.schema.target(labels)
        edit = random_edit(self.schema, labels, values) if guided else None
        others = (edit.values,) if edit else ()
        latent, rebuilt, *decoded = self.fader(
            images, values, *others, labels=labels, noise=self.objective.latent_noise
        )
        loss = self._reconstruction_loss(rebuilt.float(), images)
        logged = {"loss/reconstruction": loss}
        if self.objective.lambda_e:
            for _ in range(self.objective.discriminator_steps):
                logged["loss/discriminator"] = self._update_discriminator(latent.detach(), target)
            logged["loss/adversarial"] = self._adversarial_loss(latent, target)
            logged["lambda_e"] = self._lambda_e.clone()
            loss = loss + self._lambda_e * logged["loss/adversarial"]
        if edit:
            # As the product shows it; the unedited decode is held, it has the photo to match.
            unedited, region = rebuilt.detach(), self.schema.region(values, edit.values)
            edited = blend(unedited, confine(unedited, decoded[0], region)).apply(images)
            changed = PhotoCritic.changed(images, edited.detach())
            pairs = augment(torch.cat([smooth(images), smooth(edited)], dim=1))
            of_critics, real = self._update_critics(pairs.detach(), labels, edit, changed)
            judged = self._edit_losses(pairs[:, 3:], edit, changed, real, labels)
            logged |= of_critics
            logged |= judged | {"loss/change": change_loss(decoded[0].float() - unedited.float())}
            photo_critic = self.accelerator.unwrap_model(self.modules["photo_critic"])
            of_labels, of_photos = judged["loss/edit"], judged["loss/photo"]
            of_edits = balanced(edited, of_labels, of_photos, photo_critic.share)
            loss = loss + self._guidance * of_edits
            loss = loss + self.objective.guidance.sparsity * logged["loss/change"]
        self._update("fader", self.fader, loss)
        self._average_in(self.accelerator.unwrap_model(self.fader))
        return logged

    def averaged_fader(self, sampler: BatchSampler, batches: int = 50) -> Fader:
        """The averaged weights with statistics of their own, in evaluation mode.

        Those gathered while training belong to other weights. Batch statistics would wash the
        pictures out, so they are taken anew over some batches: the encoder's, then the decoder's,
        of what the encoder gives with its own. What is erased in between is taken from the
        sampler's faces as they are, since a latent has thousands of numbers to fit.
        """
        torch.manual_seed(sampler.seed)  # noise and edits alike, whenever this is asked for
        fader, held = self.average, self.objective.held
        if held != "encoder":
            update_bn((batch.images for batch in self._batches(sampler, batches)), fader.encoder)
        fader.eval()
        with torch.inference_mode():
            faces = sampler.faces
            parts = torch.arange(len(faces)).split(sampler.batch_size)
            measure(fader.erasure, self.schema, faces, parts, lambda b: fader.encoder(b.images))
        if held != "decoder":
            shown = map(self._seen_in_training, self._batches(sampler, batches))
            update_bn(shown, _Decoding(fader, self.objective.latent_noise))
        return fader.eval()

    def _batches(self, sampler: BatchSampler, count: int) -> Iterator[Batch]:
        return (sampler(step).to(self.accelerator.device) for step in range(count))

    def _pace(self, step: int) -> None:
        """Sets what changes with the steps; of the photo critic's own pace, see there."""
        self._lambda_e.fill_(self.objective.lambda_at(step))
        self._guidance.fill_(self.objective.guidance.weight_at(step))
        self._renewal.fill_(1 - average_decay(self.objective.average_decay, step))
        for name, optimizer in self.optimizers.items():
            pace = PhotoCritic.PACE if name == "photo_critic" else 1
            for group in optimizer.param_groups:
                group["lr"].fill_(pace * self.objective.learning_rate_at(step))

    @torch.no_grad()
    def _average_in(self, fader: Fader) -> None:
        for average, weight in zip(self.average.parameters(), fader.parameters(), strict=True):
            average.lerp_(weight, self._renewal)

    def _new_discriminator(self, fader: Fader) -> nn.Module:
        width, dropout = self.objective.discriminator_width, self.objective.discriminator_dropout
        return LatentDiscriminator(fader.schema, fader.latent_shape, width, dropout)

    def _adam(self, module: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam(
            (weight for weight in module.parameters() if weight.requires_grad),
            torch.tensor(self.objective.learning_rate, device=self.accelerator.device),
            betas=self.objective.betas,
            fused=True,  # one pass over memory; on a CPU the plain one costs a tenth of a step
            capturable=self._on_gpu,
        )

    def _reconstruction_loss(self, rebuilt: Tensor, images: Tensor) -> Tensor:
        loss = F.mse_loss(rebuilt, images)
        if self.objective.tint:
            loss = loss + self.objective.tint * block_error(rebuilt, images)
        return loss

    def _update_discriminator(self, latent: Tensor, target: Tensor) -> Tensor:
        loss = prediction_loss(self.schema, self.modules["discriminator"](latent).float(), target)
        self._update("discriminator", self.modules["discriminator"], loss)
        return loss

    def _adversarial_loss(self, latent: Tensor, target: Tensor) -> Tensor:
        """Through the discriminator held fixed, so that no gradient reaches its weights."""
        with self._held("discriminator") as discriminator:
            logits = discriminator(latent).float()
        return adversarial_loss(self.schema, logits, target, self.aim)

    def _seen_in_training(self, batch: Batch) -> tuple[tuple[Tensor, ...]]:
        """A batch's part in the statistics: its faces, edited too where edits are trained."""
        parts = [batch.images, batch.values]
        if self.objective.guidance.weight:
            parts.append(random_edit(self.schema, batch.labels, batch.values).values)
        return (tuple(parts),)

    def _update_critics(
        self, pairs: Tensor, labels: Tensor, edit: Edit, changed: Tensor
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Photos and edits (N, 6, S, S) -> what to log; scores (N, attributes, 2) of the photos."""
        pictures = torch.cat(pairs.chunk(2, dim=1))
        critic, photo_critic = self.modules["critic"], self.modules["photo_critic"]
        real, fake = critic(pictures).float().chunk(2)
        loss = critic_loss(real, labels, fake, edit)
        self._update("critic", critic, loss)
        real_patches, fake_patches = photo_critic(pictures).float().chunk(2)
        loss_of_photos = photo_loss(real_patches, fake_patches, changed)
        few = max(1, len(labels) // 4)
        rough = roughness(photo_critic, pictures[:few], changed[:few])
        self._update("photo_critic", photo_critic, loss_of_photos + ROUGHNESS / 2 * rough)
        told = told_apart(real_patches, fake_patches, changed)
        self.accelerator.unwrap_model(photo_critic).told_apart.lerp_(told, 0.01)
        logged = {
            "loss/critic": loss,
            "loss/photo_critic": loss_of_photos,
            "loss/roughness": rough,
            "told_apart": told,
        }
        return logged, real.detach()

    def _edit_losses(
        self, edits: Tensor, edit: Edit, changed: Tensor, real: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        with self._held("critic") as critic, self._held("photo_critic") as photo_critic:
            scores, photo = critic(edits).float(), photo_critic(edits).float()
        return {
            "loss/edit": adversarial_edit_loss(scores, edit, real, labels),
            "loss/photo": adversarial_photo_loss(photo, changed),
        }

    @contextmanager
    def _held(self, name: str) -> Iterator[nn.Module]:
        """A network whose weights get no gradient, while what it is given does."""
        network = self.accelerator.unwrap_model(self.modules[name])
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        for weight in weights:
            weight.requires_grad_(False)
        with self.accelerator.autocast():
            yield network
        for weight in weights:
            weight.requires_grad_(True)

    def _update(self, name: str, module: nn.Module, loss: Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(module.parameters(), self.objective.clip_norm)
        optimizer.step()


class _Decoding(nn.Module):
    """A Fader whose decoder alone is trained, with its arguments as one, as ``update_bn`` wants."""

    def __init__(self, fader: Fader, noise: float) -> None:
        super().__init__()
        self.decoder = fader.decoder
        self.fader = (fader,)  # not as a part: its encoder's statistics stay
        self.noise = noise

    def forward(self, arguments: tuple[Tensor, ...]) -> Tensor:
        return self.fader[0](*arguments, noise=self.noise)[1]
