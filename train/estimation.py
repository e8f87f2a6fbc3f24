"""Training of the attribute estimator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter
from torchmetrics.functional.classification import binary_auroc

from fader_demo.attributes import AttributeSchema
from train.augmentation import augment
from train.data import Batch, PreparedFaces, predict
from train.losses import prediction_loss
from train.trainer import TrainerSettings, average_decay

Network = TypeVar("Network", bound=nn.Module)

AVERAGE_DECAY = 0.998
READ_AT = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Estimated values between which photos with the label are counted."""


@dataclass(frozen=True)
class EstimatorSettings:
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    trainer: TrainerSettings = field(default_factory=lambda: TrainerSettings(steps=6_000))


class EstimatorTask(Generic[Network]):
    """A network that reads attributes off a face, under cross-entropy (a ``train.trainer.Task``).

    The learning rate falls on a cosine. Faces are shifted, scaled and lit a
    little differently each time, as uploads are.
    """

    def __init__(
        self,
        estimator: Network,
        schema: AttributeSchema,
        settings: EstimatorSettings,
        accelerator: Accelerator,
    ) -> None:
        self.settings = settings
        self.schema = schema
        self.accelerator = accelerator
        estimator = estimator.to(accelerator.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        # Batch statistics are averaged with the weights, over the same steps.
        self.average = AveragedModel(estimator, multi_avg_fn=_averaged_in, use_buffers=True)
        optimizer = torch.optim.AdamW(
            estimator.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
        )
        self.estimator, optimizer = accelerator.prepare(estimator, optimizer)
        self.modules: dict[str, nn.Module] = {
            "estimator": self.estimator,
            "average": self.average,
        }
        self.optimizers: dict[str, Any] = {"estimator": optimizer}

    @property
    def averaged_estimator(self) -> Network:
        return cast(Network, self.average.module.eval())

    def step(self, batch: Batch, step: int) -> dict[str, Tensor]:
        optimizer = self.optimizers["estimator"]
        for group in optimizer.param_groups:
            group["lr"] = self._learning_rate(step)
        images = augment(batch.images.to(self.accelerator.device))
        target = self.schema.target(batch.labels.to(self.accelerator.device))
        loss = prediction_loss(self.schema, self.estimator(images).float(), target)
        optimizer.zero_grad(set_to_none=True)
        self.accelerator.backward(loss)
        optimizer.step()
        self.average.update_parameters(self.accelerator.unwrap_model(self.estimator))
        return {"loss/estimator": loss}

    def _learning_rate(self, step: int) -> float:
        progress = torch.tensor(torch.pi * step / self.settings.trainer.steps)
        return self.settings.learning_rate * 0.5 * (1 + torch.cos(progress).item())


@torch.no_grad()
def _averaged_in(averages: Any, weights: Any, count: Tensor | int) -> None:
    get_ema_multi_avg_fn(average_decay(AVERAGE_DECAY, int(count)))(averages, weights, count)


def balanced_accuracy(score: Tensor, truth: Tensor) -> float:
    """Mean of the share right among either class, for scores (N,) cut at 0.5; 0.5 is chance."""
    said, truth = score > 0.5, truth > 0.5
    return ((said[truth]).float().mean() + (~said[~truth]).float().mean()).item() / 2


class EstimatorEvaluation:
    """A trainer callback: AUC and balanced accuracy of binary attributes on validation people."""

    def __init__(self, task: EstimatorTask, validation: PreparedFaces) -> None:
        self.task = task
        self.validation = validation

    def __call__(self, step: int, writer: SummaryWriter) -> None:
        estimator = self.task.averaged_estimator
        logits, labels = predict(estimator, self.validation), self.validation.labels
        values = self.task.schema.read(logits)
        for index, attribute in enumerate(self.task.schema):
            if attribute.kind != "binary":
                continue
            truth = labels[:, index]
            writer.add_scalar(
                f"auc/{attribute.name}", binary_auroc(values[:, index], truth.long()), step
            )
            writer.add_scalar(
                f"balanced_accuracy/{attribute.name}",
                balanced_accuracy(values[:, index], truth),
                step,
            )
