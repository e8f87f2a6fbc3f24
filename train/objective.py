"""The Fader objective: one update of the latent discriminator and of encoder and decoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from fader_demo.model import Fader
from train.data import Batch, BatchSampler
from train.discriminator import LatentDiscriminator
from train.losses import AdversaryTarget, adversarial_loss, prediction_loss


@dataclass(frozen=True)
class Objective:
    """Defaults are those of the paper (sections 3.2 and 4.1) and of its released code.

    lambda_e rises linearly from 0 over rise_steps. adversary_target: what encoder and decoder
    want the discriminator to say (see ``adversarial_loss``). latent_noise: standard deviation of
    the noise on the normalised latent. average_decay: of the exponential average of the weights.
    """

    lambda_e: float = 1e-4
    rise_steps: int = 500_000
    adversary_target: AdversaryTarget = "flipped"
    discriminator_steps: int = 1
    discriminator_width: int = 512
    discriminator_dropout: float = 0.3
    latent_noise: float = 0.0
    learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.5, 0.999)
    clip_norm: float = 5.0
    average_decay: float = 0.999

    def lambda_at(self, step: int) -> float:
        return self.lambda_e * min(1.0, (step + 1) / max(1, self.rise_steps))


class FaderTask:
    """Encoder and decoder against the latent discriminator (a ``train.trainer.Task``).

    One encoder pass a step serves both: the discriminator steps first, on the latent cut off
    from its graph, then encoder and decoder do, through the graph kept.
    """

    def __init__(
        self, fader: Fader, objective: Objective, prior: Tensor, accelerator: Accelerator
    ) -> None:
        self.objective = objective
        self.schema = fader.schema
        self.accelerator = accelerator
        discriminator = LatentDiscriminator(
            fader.schema,
            fader.latent_shape,
            objective.discriminator_width,
            objective.discriminator_dropout,
        )
        fader = fader.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = AveragedModel(
            fader, multi_avg_fn=get_ema_multi_avg_fn(objective.average_decay)
        )
        self.fader, self.discriminator, autoencoder_steps, discriminator_steps = (
            accelerator.prepare(fader, discriminator, self._adam(fader), self._adam(discriminator))
        )
        self.modules: dict[str, nn.Module] = {
            "fader": self.fader,
            "discriminator": self.discriminator,
            "average": self.average,
        }
        self.optimizers: dict[str, Any] = {
            "fader": autoencoder_steps,
            "discriminator": discriminator_steps,
        }
        self.aim: Any = "flipped"
        if objective.adversary_target == "prior":
            self.aim = prior.to(accelerator.device)

    def step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        images = batch.images.to(self.accelerator.device, memory_format=torch.channels_last)
        labels = batch.labels.to(self.accelerator.device)
        values = batch.values.to(self.accelerator.device)
        target = self.schema.target(labels)
        latent, rebuilt = self.fader(images, values, self.objective.latent_noise)
        for _ in range(self.objective.discriminator_steps):
            discriminator_loss = self._update_discriminator(latent.detach(), target)
        reconstruction = F.mse_loss(rebuilt.float(), images)
        weight = self.objective.lambda_at(step)
        adversarial = self._adversarial_loss(latent, target)
        self._update("fader", self.fader, reconstruction + weight * adversarial)
        self.average.update_parameters(self.accelerator.unwrap_model(self.fader))
        return {
            "loss/reconstruction": reconstruction,
            "loss/discriminator": discriminator_loss,
            "loss/adversarial": adversarial,
            "lambda_e": torch.tensor(weight),
        }

    def averaged_fader(self, sampler: BatchSampler, batches: int = 50) -> Fader:
        """The averaged weights with batch statistics of their own, in evaluation mode.

        Running statistics gathered while training belong to other weights and would wash the
        pictures out, so they are taken anew over some batches.
        """
        fader = cast(Fader, self.average.module)
        device = self.accelerator.device
        pairs = (
            ((batch.images.to(device), batch.values.to(device)),)
            for batch in map(sampler, range(batches))
        )
        update_bn(pairs, _Autoencoder(fader, self.objective.latent_noise))
        return fader.eval()

    def _adam(self, module: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam(
            module.parameters(),
            self.objective.learning_rate,
            betas=self.objective.betas,
            fused=True,  # one pass over memory; on a CPU the plain one costs a tenth of a step
        )

    def _update_discriminator(self, latent: Tensor, target: Tensor) -> Tensor:
        loss = prediction_loss(self.schema, self.discriminator(latent).float(), target)
        self._update("discriminator", self.discriminator, loss)
        return loss

    def _adversarial_loss(self, latent: Tensor, target: Tensor) -> Tensor:
        """Through the discriminator held fixed, so that no gradient reaches its weights."""
        discriminator = self.accelerator.unwrap_model(self.discriminator)
        discriminator.requires_grad_(False)
        with self.accelerator.autocast():
            logits = discriminator(latent).float()
        discriminator.requires_grad_(True)
        return adversarial_loss(self.schema, logits, target, self.aim)

    def _update(self, name: str, module: nn.Module, loss: Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(module.parameters(), self.objective.clip_norm)
        optimizer.step()


class _Autoencoder(nn.Module):
    """A Fader that takes (image, values) as one argument, the way ``update_bn`` hands them over."""

    def __init__(self, fader: Fader, noise: float) -> None:
        super().__init__()
        self.fader = fader
        self.noise = noise

    def forward(self, pair: tuple[Tensor, Tensor]) -> Tensor:
        return self.fader(*pair, self.noise)[1]
