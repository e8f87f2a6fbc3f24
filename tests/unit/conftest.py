"""A small prepared data set whose labels can be seen in its pictures, and a run's configuration."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from small_run import ATTRIBUTES, SIZE


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
    np.save(folder / "images.npy", images.clip(0, 255).astype(np.uint8))
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "split", "person", "Smiling", "No_Beard"])
        for i in range(240):
            split = "train" if i < 160 else "validation" if i < 200 else "test"
            writer.writerow([f"{i:06}.jpg", split, i // 2, int(smiling[i]), int(no_beard[i])])
    (folder / "dataset.json").write_text(json.dumps({"size": SIZE}))
    return folder


@pytest.fixture
def config() -> dict:
    """Settings of a run of a few seconds; a test changes them and calls ``write_config``."""
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
