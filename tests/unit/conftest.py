"""A small prepared data set whose labels can be seen in its pictures, and a run's configuration."""

from __future__ import annotations

import copy
import os
from pathlib import Path

import numpy as np
import pytest
from small_run import ATTRIBUTES, SIZE, write_prepared

# Runs are compared to the last bit, which sums on a GPU, in no fixed order, do not allow.
os.environ["ACCELERATE_USE_CPU"] = "true"


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 noisy pictures: Smiling lights their upper half, No_Beard (rare) their lower half."""
    folder = tmp_path_factory.mktemp("prepared")
    random = np.random.default_rng(0)
    smiling = random.random(240) < 0.5
    no_beard = random.random(240) < 0.9
    images = random.normal(110, 25, (240, SIZE, SIZE, 3))
    images[smiling, : SIZE // 2] += 60
    images[no_beard, SIZE // 2 :] += 60
    splits = ["train"] * 160 + ["validation"] * 40 + ["test"] * 40
    rows = [
        (f"{i:06}.jpg", splits[i], i // 2, int(smiling[i]), int(no_beard[i])) for i in range(240)
    ]
    write_prepared(folder, images, ("id", "split", "person", "Smiling", "No_Beard"), rows)
    return folder


@pytest.fixture
def config(small_config: dict) -> dict:
    """Settings that a test may change; it then calls ``write_config``."""
    return copy.deepcopy(small_config)


@pytest.fixture(scope="session")
def small_config() -> dict:
    """Settings of a run of a few seconds."""
    trainer = {"steps": 12, "log_every": 2, "evaluate_every": 100}
    return {
        "attributes": ATTRIBUTES,
        "columns": {"Beard": "not No_Beard"},
        "model": {"image_size": SIZE, "width": 4, "max_width": 8, "depth": 3},
        "fader": {
            "batch_size": 8,
            "objective": {
                "latent_noise": 0.3,
                "lambda_e": 0.01,
                "discriminator_width": 16,
                "guidance": {"weight": 0.01, "start": 3, "rise_steps": 4, "critic_width": 4},
            },
            "trainer": dict(trainer),
        },
        "estimator": {"batch_size": 8, "trainer": dict(trainer, steps=4)},
        "judge": {"batch_size": 8, "trainer": dict(trainer, steps=4)},
    }
