"""The judge of edits: reads attributes, is never trained against, and is not the estimator."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from fader_demo.attributes import AttributeSchema
from fader_demo.estimator import anchored
from train.data import BatchSampler, PreparedFaces, label_anchors, overlap_weights, predict
from train.estimation import EstimatorEvaluation, EstimatorSettings, EstimatorTask
from train.trainer import Trainer


class Judge(nn.Module):
    """Aligned face (N, 3, S, S) in [-1, 1] -> logits (N, schema.prediction_size).

    A residual network (torchvision's, two layers a stage) at 96 px: another architecture than the
    estimator's, another resolution and other weights, so that the two share no blind spot by
    construction.
    """

    READING_SIZE = 96

    anchors: Tensor

    def __init__(self, attributes: Sequence[Mapping[str, Any]]) -> None:
        super().__init__()
        self.schema = AttributeSchema.from_config(attributes)
        self.network = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=self.schema.prediction_size)
        # The logits of the average face labelled 0 and 1, all else equal, of faces it has not seen.
        self.register_buffer("anchors", torch.tensor([[-1.0, 1.0]]).repeat(len(self.schema), 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.network(
            F.interpolate(image, self.READING_SIZE, mode="bilinear", antialias=True)
        )

    def scores(self, image: Tensor) -> Tensor:
        """Aligned faces -> (N, attributes): 0 and 1 are the average faces with either label.

        They are averages over faces alike in all other labels (``overlap_weights``), for an edit
        changes one attribute and should cross the line between such faces. Between plain averages
        half of all shaven men would stand on the bearded side: most faces without a beard are
        women's.
        """
        return anchored(self.schema, self(image), self.anchors)


def trained_judge(
    attributes: Sequence[Mapping[str, Any]],
    settings: EstimatorSettings,
    train: PreparedFaces,
    validation: PreparedFaces,
    folder: Path,
    accelerator: Accelerator,
) -> Judge:
    """The judge in ``folder``, trained there first as far as it is not; ends there if stopped.

    It learns from the people of the train split alone; validation people set its anchors.
    """
    torch.manual_seed(settings.trainer.seed)
    judge = Judge(attributes)
    task = EstimatorTask(judge, judge.schema, settings, accelerator)
    sampler = BatchSampler(train, settings.batch_size, settings.trainer.seed)
    callback = EstimatorEvaluation(task, validation)
    trainer = Trainer(task, sampler, folder, settings.trainer, accelerator, [callback])
    if trainer.fit() < settings.trainer.steps:  # half a judge judges nothing
        sys.exit("Stopped and saved. Run the same command again to go on.")
    judge = task.averaged_estimator
    labels = validation.labels
    weights = overlap_weights(judge.schema, labels)
    judge.anchors.copy_(label_anchors(judge.schema, predict(judge, validation), labels, weights))
    return judge
