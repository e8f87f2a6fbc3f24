"""What the tests share: a photo with one face, and a small untrained model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # the workers share the cores
os.environ["HF_HUB_OFFLINE"] = "1"  # before huggingface_hub is imported: no test goes online

import pytest
import torch
from PIL import Image
from torch import nn

from fader_demo.estimator import AttributeEstimator
from fader_demo.model import Fader

ATTRIBUTES: list[dict[str, Any]] = [
    {"name": "Smiling", "default": 0.0},
    {"name": "Eyeglasses", "slider": [-0.5, 1.5], "default": 0.0},
    {
        "name": "Age",
        "kind": "continuous",
        "range": [20, 70],
        "slider": [0, 90],
        "default": 40,
        "unit": "years",
    },
    {"name": "Hair", "kind": "categorical", "choices": ["black", "blond", "brown"]},
]

SEED = 0
"""One that reads no attribute of the portrait at the very value that a test moves it to."""


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as training exports it: untrained, 64 px, and deaf to no slider."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    torch.manual_seed(SEED)
    fader = Fader(ATTRIBUTES, image_size=64, width=8, max_width=32, depth=4)
    estimator = AttributeEstimator(ATTRIBUTES, image_size=64, width=8)
    for model in (fader, estimator):
        torch.manual_seed(SEED)
        _settle(model)
    with torch.no_grad():
        estimator.head.weight *= 0.1  # or every slider would start at one of its ends
    fader.save_pretrained(folder)
    estimator.save_pretrained(folder / "estimator")
    return folder


@pytest.fixture(scope="session")
def astronaut() -> Image.Image:
    """scikit-image's portrait of Eileen Collins: 512 x 512, one face."""
    from skimage import data

    return Image.fromarray(data.astronaut())


def _settle(model: nn.Module) -> None:
    """Norm statistics of noise and larger weights, so that an untrained model has an opinion."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            nn.init.normal_(module.weight, std=2 / module.weight[0].numel() ** 0.5)
    size = model.image_size
    assert isinstance(size, int)
    image = torch.rand(16, 3, size, size) * 2 - 1
    with torch.no_grad():
        for _ in range(30):
            if isinstance(model, Fader):
                model(image, model.schema.table({}).expand(16, -1))
            else:
                model(image)
    model.eval()
