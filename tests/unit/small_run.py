"""The schema and picture size of the small data set, and how tests write data and settings and
make a trainer of them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

ATTRIBUTES = [{"name": "Smiling"}, {"name": "Beard"}]
SIZE = 32


def write_config(config: dict, folder: Path) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def write_prepared(
    folder: Path, images: NDArray, columns: Sequence[str], rows: Iterable[Sequence]
) -> None:
    """A folder as ``train.prepare`` makes it: images (N, S, S, 3) in 0..255 and a row for each."""
    np.save(folder / "images.npy", images.clip(0, 255).astype(np.uint8))
    (folder / "dataset.json").write_text(json.dumps({"size": images.shape[1]}))
    with (folder / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
