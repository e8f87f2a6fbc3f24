"""Figures as rows of a table: made, printed, and put beside the machine that they are of."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterable, Sequence
from typing import Any

import torch

Row = dict[str, Any]
"""What was measured, under "figure", and its values by their units."""


def percentile(values: Sequence[float], percent: float) -> float:
    """The least value that ``percent`` of all do not exceed (nearest rank); NaN of none."""
    if not values:
        return math.nan
    rank = math.ceil(percent / 100 * len(values))
    return sorted(values)[max(rank, 1) - 1]


def spread(figure: str, milliseconds: Sequence[float], *percents: int) -> Row:
    """A row of the median and of higher percentiles."""
    higher = {f"{p}th ms": percentile(milliseconds, p) for p in percents}
    return {"figure": figure, "median ms": percentile(milliseconds, 50)} | higher


def show(rows: Iterable[Row]) -> list[Row]:
    """Prints rows as they come, and returns them."""
    shown = []
    for row in rows:
        print(line(row), flush=True)
        shown.append(row)
    return shown


def line(row: Row) -> str:
    """A row as text; what is no number stands after its unit."""
    figures = (
        f"{value:10.2f} {unit}" if isinstance(value, (int, float)) else f"  {unit}: {value}"
        for unit, value in row.items()
        if unit != "figure"
    )
    return f"{row['figure']:<56}" + "".join(figures)


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "system": platform.platform(terse=True),
        "cores": os.cpu_count(),
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
        "torch threads": torch.get_num_threads(),
    }
