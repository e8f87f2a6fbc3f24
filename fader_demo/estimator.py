"""Reads the attributes off an aligned face, so that the sliders start where the face is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from huggingface_hub import PyTorchModelHubMixin
from torch import Tensor, nn

from fader_demo.attributes import Attribute, AttributeSchema

READING_SIZE = 64
"""Pixels a side at which attributes are read: enough for glasses and teeth, cheap on a CPU."""


class AttributeEstimator(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="fader-demo",
    tags=["face-attributes", "image-classification"],
):
    """Aligned face (N, 3, S, S) in [-1, 1] -> logits (N, schema.prediction_size).

    Four blocks of convolution 3x3, batch normalisation, ReLU and max-pooling down to 4x4 (60
    million multiply-adds at width 32). The head sees that map flattened as well as averaged: on
    an aligned face an attribute has its place.

    attributes: the schema as JSON (``AttributeSchema.to_config``), equal to the Fader's.
    image_size: S. width: channels of the first block; each block doubles them.
    """

    anchors: Tensor

    def __init__(
        self, attributes: Sequence[Mapping[str, Any]], image_size: int = 128, width: int = 32
    ) -> None:
        super().__init__()
        self.schema = AttributeSchema.from_config(attributes)
        self.image_size = image_size
        widths = [width * 2**level for level in range(4)]
        self.blocks = nn.Sequential(
            *(_block(*pair) for pair in zip([3, *widths], widths, strict=False))
        )
        self.place = nn.Sequential(nn.Conv2d(widths[-1], 2 * width, 1), nn.ReLU(), nn.Flatten())
        place_size = 2 * width * (READING_SIZE // 2**4) ** 2
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(widths[-1] + place_size, self.schema.prediction_size)
        # The logits of the average face labelled 0 and 1, from held-out faces after training.
        self.register_buffer("anchors", torch.tensor([[-1.0, 1.0]] * len(self.schema)))

    def forward(self, image: Tensor) -> Tensor:
        """Logits (N, schema.prediction_size)."""
        if image.shape[-1] != READING_SIZE:
            image = F.adaptive_avg_pool2d(image, READING_SIZE)
        x = self.blocks(image)
        features = torch.cat([x.mean((2, 3)), self.place(x)], dim=1)
        return self.head(self.dropout(features))

    def read(self, image: Tensor) -> Tensor:
        """Aligned faces -> attribute values (N, attributes), those of binary ones in 0..1."""
        return self.values(self(image), self.anchors)

    def values(self, logits: Tensor, anchors: Tensor) -> Tensor:
        """Logits -> attribute values (N, attributes), those of binary ones in 0..1.

        As the decoder was told them in training, whatever its sliders have become since.
        """
        columns = anchored(self.schema, logits, anchors).unbind(1)
        return torch.stack(
            [
                column.clamp(*attribute.range) if attribute.kind == "binary" else column
                for attribute, column in zip(self.schema, columns, strict=True)
            ],
            dim=1,
        )


def anchored(schema: AttributeSchema, logits: Tensor, anchors: Tensor) -> Tensor:
    """Logits -> attribute values (N, attributes).

    A binary attribute is read on the line through its anchors (attributes, 2), the logits of the
    average face without and with it, so that 0 and 1 are those faces, a broad smile reads more
    than 1, and faces spread over a slider where a probability would crowd them at its ends.
    """
    parts = zip(
        schema, schema.read(logits).unbind(1), schema.split_prediction(logits), anchors, strict=True
    )
    return torch.stack([_anchored(*part) for part in parts], dim=1)


def _anchored(attribute: Attribute, column: Tensor, logits: Tensor, anchors: Tensor) -> Tensor:
    if attribute.kind != "binary":
        return column
    without, with_it = anchors
    return (logits.squeeze(1) - without) / (with_it - without)


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )
