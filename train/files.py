"""Files that are written whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


def write_atomically(path: Path, text: str) -> None:
    """What was there stays until all of the new text is on disk; OSError leaves it as it was."""
    with _in_place_of(path) as new:
        new.write_text(text, encoding="utf-8", newline="")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """The same for tensors, as Safetensors."""
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with _in_place_of(path) as new:
        try:
            save_file(whole, str(new), metadata)
        except SafetensorError as error:
            raise OSError(str(error)) from error


@contextmanager
def _in_place_of(path: Path) -> Iterator[Path]:
    """A path to write to, which then takes the other's place."""
    new = path.with_name(path.name + ".new")
    try:
        yield new
        with new.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)
