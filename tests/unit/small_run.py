"""The schema and picture size of the small data set, and how a test writes a configuration."""

from __future__ import annotations

from pathlib import Path

import yaml

ATTRIBUTES = [{"name": "Smiling"}, {"name": "Beard"}]
SIZE = 32


def write_config(config: dict, folder: Path) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return path
