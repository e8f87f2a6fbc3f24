"""The estimator: shapes, anchors, cost, and that it learns from where something is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from fader_demo.estimator import AttributeEstimator

ATTRIBUTES: list[dict[str, Any]] = [
    {"name": "Smiling"},
    {"name": "Age", "kind": "continuous", "range": [20, 70], "slider": [0, 90], "default": 40},
    {"name": "Hair", "kind": "categorical", "choices": ["black", "blond", "brown"]},
]


def _estimator(size: int) -> AttributeEstimator:
    torch.manual_seed(0)
    return AttributeEstimator(ATTRIBUTES, image_size=size, width=8).eval()


@pytest.mark.parametrize("size", [48, 64, 128, 192])
def test_faces_of_any_size_become_logits_and_values(size: int) -> None:
    estimator = _estimator(size)
    faces = torch.rand(3, 3, size, size) * 2 - 1
    with torch.inference_mode():
        assert estimator(faces).shape == (3, estimator.schema.prediction_size)
        values = estimator.read(faces)
    smiling, age, hair = values.unbind(1)
    assert ((smiling >= 0) & (smiling <= 1)).all()
    assert ((age >= 20) & (age <= 70)).all()
    assert set(hair.tolist()) <= {0.0, 1.0, 2.0}


def test_zero_and_one_are_the_average_faces_of_each_label() -> None:
    estimator = _estimator(64)
    logits = torch.zeros(5, estimator.schema.prediction_size)
    logits[:, 0] = torch.tensor([-3.0, 1.0, 3.0, 99.0, -99.0])
    anchors = torch.tensor([[-3.0, 1.0]] * len(estimator.schema))
    values = estimator.values(logits, anchors)
    assert values[:, 0].tolist() == [0, 1, 1, 1, 0]  # as far as the labels go
    assert values[:, 1].tolist() == pytest.approx([45] * 5)


def test_reading_uses_the_estimators_own_anchors() -> None:
    estimator = _estimator(64)
    faces = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.inference_mode():
        logits = estimator(faces)
        estimator.anchors[0] = torch.stack([logits[0, 0], logits[0, 0] + 1])
        assert estimator.read(faces)[0, 0] == 0


def test_it_costs_less_than_a_decode() -> None:
    with torch.device("meta"):
        estimator = AttributeEstimator(ATTRIBUTES)
        assert _multiply_adds(estimator, torch.empty(1, 3, 128, 128)) < 70e6


def test_it_learns_where_a_spot_is() -> None:
    torch.manual_seed(0)
    estimator = AttributeEstimator([{"name": "Left"}], image_size=64, width=4)
    optimizer = torch.optim.Adam(estimator.parameters(), 3e-3)
    for _ in range(40):
        faces, labels = _spots(32)
        loss = F.binary_cross_entropy_with_logits(estimator(faces), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    faces, labels = _spots(64)
    with torch.inference_mode():
        values = estimator.eval().read(faces)
    assert ((values > 0.5) == labels.bool()).float().mean() > 0.9


def test_anchors_are_saved_with_the_weights(tmp_path: Path) -> None:
    estimator = _estimator(64)
    estimator.anchors.copy_(torch.tensor([[-2.0, 3.0]] * 3))
    estimator.save_pretrained(tmp_path)
    again = AttributeEstimator.from_pretrained(str(tmp_path), strict=True)
    faces = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(again.read(faces), estimator.read(faces), rtol=0, atol=0)
    torch.testing.assert_close(again.anchors, estimator.anchors, rtol=0, atol=0)


def _spots(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Noise with a bright spot at the left (label 1) or at the right (label 0)."""
    labels = torch.randint(0, 2, (count, 1)).float()
    faces = torch.rand(count, 3, 64, 64) - 1
    for face, label in zip(faces, labels, strict=True):
        column = 12 if label else 44
        face[:, 28:36, column : column + 8] = 1
    return faces, labels


def _multiply_adds(model: nn.Module, image: torch.Tensor) -> int:
    total = 0

    def count(layer: nn.Module, _: Any, output: torch.Tensor) -> None:
        nonlocal total
        assert isinstance(layer, (nn.Conv2d, nn.Linear))
        positions = output[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1
        total += layer.weight.numel() * positions

    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(count)
    model(image)
    return total
