"""What the commands that train and measure have in common: how they ask, and how they fail."""

from __future__ import annotations

import argparse
import sys

from fader_demo.attributes import SchemaError
from fader_demo.pretrained import ModelError
from train.config import ConfigError
from train.data import DatasetError
from train.trainer import CheckpointError, TrainingDiverged

FAILURES = (
    ModelError,
    ConfigError,
    SchemaError,
    DatasetError,
    CheckpointError,
    TrainingDiverged,
)
"""What is told in the words of its message, and not with a trace."""


def parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """Of ``python -m train.NAME``, described by its module's docstring as it stands."""
    return argparse.ArgumentParser(
        prog=f"python -m train.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def failed(name: str, error: Exception) -> int:
    """Says on standard error what is wrong; returns the command's exit status."""
    print(f"train.{name}: {error}", file=sys.stderr)
    return 2
