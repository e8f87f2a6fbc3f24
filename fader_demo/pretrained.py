"""Loading a trained model: a folder, or the Hub's copy of one.

    model/config.json            the Fader's arguments, its attribute schema among them
    model/model.safetensors      the Fader's weights
    model/estimator/             the same two files of the AttributeEstimator

A model may come from strangers, so nothing is unpickled, and everything is checked before memory
is spent on it. What is loaded is a copy: the files may change or go while it is in use.
"""

from __future__ import annotations

import inspect
import json
import math
import re
from pathlib import Path
from typing import Any, TypeVar

import torch
from huggingface_hub import model_info, snapshot_download
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from fader_demo.attributes import AttributeSchema
from fader_demo.estimator import AttributeEstimator
from fader_demo.model import Fader

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
ESTIMATOR_FOLDER = "estimator"
FETCHED = [
    *(CONFIG_FILE, WEIGHTS_FILE, "metrics.json", "presets.json", "README.md"),
    *(f"{ESTIMATOR_FOLDER}/{name}" for name in (CONFIG_FILE, WEIGHTS_FILE)),
]
"""What is fetched from the Hub; whatever else a repository holds stays there."""

LIMITS = {
    "image_size": range(1, 1025),
    "width": range(1, 1025),
    "max_width": range(1, 1025),
    "depth": range(1, 9),
    "latent_channels": range(1, 1025),
    "encoder_residuals": range(17),
}
MAX_ATTRIBUTES = 64
MAX_CHOICES = 64
MAX_TEXT = 100
"""Characters of a name, a label or a choice."""
MAX_NUMBER = 1e9
"""Of the ends of ranges and sliders, either way from 0."""
MAX_CONFIG_BYTES = 1_000_000
MAX_HEADER_BYTES = 1_000_000
"""What a weights file may have beside its numbers."""
MAX_FETCHED_BYTES = 2_000_000_000

Model = TypeVar("Model", Fader, AttributeEstimator)


class ModelError(ValueError):
    """A model that cannot be loaded; the message says which file, and why."""


def load_model(source: str | Path, revision: str | None = None) -> tuple[Fader, AttributeEstimator]:
    """The Fader and the estimator of a folder or of a Hub id ("owner/name"), in eval mode.

    Their weights ask for no gradients. A folder never touches the network. Raises ModelError.
    """
    folder = model_folder(source, revision)
    fader = _load(Fader, folder)
    estimator = _load(AttributeEstimator, folder / ESTIMATOR_FOLDER)
    if _meaning(fader.schema) != _meaning(estimator.schema):
        raise ModelError(
            f"{folder / ESTIMATOR_FOLDER / CONFIG_FILE} does not describe the attributes of "
            f"{folder / CONFIG_FILE}: names, kinds, ranges and choices must be equal."
        )
    return fader, estimator


def model_folder(source: str | Path, revision: str | None = None) -> Path:
    """The folder itself, or the Hub's copy, which is fetched first. Raises ModelError."""
    folder = Path(source)
    return folder if folder.is_dir() else _fetch(source, revision)


def _fetch(source: str | Path, revision: str | None) -> Path:
    if isinstance(source, Path) or not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source):
        raise ModelError(f"There is no model folder {source}.")
    _check_size(source, revision)
    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=FETCHED))
    except (HfHubHTTPError, OSError, ValueError) as error:
        at = f" at {revision}" if revision else ""
        raise ModelError(
            f"{source} is no folder here, and it could not be fetched from the Hub{at}: {error}"
        ) from error


def _check_size(source: str, revision: str | None) -> None:
    """Raises ModelError when more than `MAX_FETCHED_BYTES` would be fetched from the Hub."""
    try:
        files = model_info(source, revision=revision, files_metadata=True).siblings or []
    except (HfHubHTTPError, OSError, ValueError):
        return  # the Hub's copy here may do; if there is none, fetching says what is wrong
    size = sum(file.size or 0 for file in files if file.rfilename in FETCHED)
    if size > MAX_FETCHED_BYTES:
        raise ModelError(
            f"{source} has {size / 1e9:.1f} GB; at most {MAX_FETCHED_BYTES / 1e9:g} GB are "
            "fetched. Choose a smaller model."
        )


def _load(model_class: type[Model], folder: Path) -> Model:
    config = _read_config(folder / CONFIG_FILE)
    _check_config(model_class, config, folder / CONFIG_FILE)
    skeleton = _skeleton(model_class, config, folder / CONFIG_FILE)
    weights = _read_weights(folder / WEIGHTS_FILE, skeleton)
    model = model_class(**config)
    model.load_state_dict(weights)
    return model.eval().requires_grad_(False)  # what fits a latent is sooner done without


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ModelError(f"{path} is missing.")
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise ModelError(f"{path} is too large to be a model's configuration.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise ModelError(f"{path} is not a JSON object.")
    return config


def _check_config(model_class: type[nn.Module], config: dict[str, Any], path: Path) -> None:
    """The constructor's arguments, all and only those, of the right types and of sane sizes.

    The mixin would take defaults for missing settings, which builds another model than was saved.
    """
    settings = set(inspect.signature(model_class).parameters)
    if missing := sorted(settings - set(config)):
        raise ModelError(f"{path} is not a {model_class.__name__}'s: it lacks {missing[0]!r}.")
    if unknown := sorted(set(config) - settings):
        raise ModelError(f"{path} has a setting {unknown[0]!r} that is not known here.")
    for name in settings & set(LIMITS):
        size, limits = config[name], LIMITS[name]
        if name == "latent_channels" and size is None:  # as wide as the last block
            continue
        if type(size) is not int or size not in limits:
            raise ModelError(f"{path}: {name} must be a whole number in {limits[0]}..{limits[-1]}.")
    attributes = config["attributes"]
    if not isinstance(attributes, list) or not 1 <= len(attributes) <= MAX_ATTRIBUTES:
        raise ModelError(f"{path}: attributes must be a list of 1..{MAX_ATTRIBUTES}.")
    for attribute in attributes:
        _check_sizes(attribute, path)


def _check_sizes(setting: Any, path: Path) -> None:
    """An attribute's texts, lists and numbers are of sizes that a page can show.

    The schema checks what they mean.
    """
    if isinstance(setting, str):
        if len(setting) > MAX_TEXT or not setting.isprintable():
            raise ModelError(
                f"{path}: names, labels and choices have at most {MAX_TEXT} characters, and none "
                "that cannot be printed."
            )
    elif isinstance(setting, (int, float)):
        if not abs(setting) <= MAX_NUMBER:  # NaN is not either
            raise ModelError(f"{path}: numbers are within {MAX_NUMBER:g} of 0, not {setting}.")
    elif isinstance(setting, (list, dict)):
        if len(setting) > MAX_CHOICES:
            raise ModelError(f"{path}: an attribute has at most {MAX_CHOICES} choices.")
        for part in setting.values() if isinstance(setting, dict) else setting:
            _check_sizes(part, path)


def _skeleton(model_class: type[Model], config: dict[str, Any], path: Path) -> Model:
    """The model without memory behind its weights: their names and shapes, whatever their size."""
    try:
        with torch.device("meta"):
            return model_class(**config)
    except ValueError as error:
        raise ModelError(f"{path}: {error}") from error


def _read_weights(path: Path, skeleton: nn.Module) -> dict[str, Tensor]:
    """Exactly the skeleton's tensors, by name, shape and type, all of their numbers finite.

    The file is read as a whole, and only if it is as large as they are: one that is mapped into
    memory and then truncated would end the process.
    """
    expected = {name: _kind(tensor) for name, tensor in skeleton.state_dict().items()}
    size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in expected.values())
    if not path.is_file():
        raise ModelError(f"{path} is missing.")
    try:
        if path.stat().st_size > size + MAX_HEADER_BYTES:
            raise ModelError(f"{path} does not fit {CONFIG_FILE}: it is too large.")
        weights = load(path.read_bytes())
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is damaged or not a safetensors file: {error}") from error
    found = {name: _kind(tensor) for name, tensor in weights.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise ModelError(
                f"{path} does not fit {CONFIG_FILE}: {name} has shape "
                f"{_described(found.get(name))}, expected {_described(expected.get(name))}."
            )
    if not all(tensor.isfinite().all() for tensor in weights.values()):
        raise ModelError(f"{path} holds weights that are not finite numbers.")
    return weights


def _kind(tensor: Tensor) -> tuple[list[int], torch.dtype]:
    return list(tensor.shape), tensor.dtype


def _described(kind: tuple[list[int], torch.dtype] | None) -> str:
    return f"{kind[0]} of {kind[1]}".replace("torch.", "") if kind else "none"


def _meaning(schema: AttributeSchema) -> list[tuple[Any, ...]]:
    """What two networks must agree on; labels, sliders and defaults are the Fader's alone."""
    return [(a.name, a.kind, a.range, a.choices) for a in schema]
