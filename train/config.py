"""A training run's configuration: a few lines of YAML over defaults that live in the classes."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
import yaml

from fader_demo.attributes import AttributeSchema
from fader_demo.estimator import AttributeEstimator
from fader_demo.model import Fader
from train.data import PreparedFaces
from train.estimation import EstimatorSettings
from train.mirror import MirrorSettings
from train.objective import Objective
from train.trainer import CHECKPOINT, TrainerSettings


class ConfigError(ValueError):
    """A configuration that cannot be run; the message names the setting."""


@dataclass(frozen=True)
class FaderSettings:
    batch_size: int = 32
    objective: Objective = field(default_factory=Objective)
    trainer: TrainerSettings = field(default_factory=TrainerSettings)


@dataclass(frozen=True)
class Config:
    """A file may name another, its ``base``, and say only what differs.

    attributes: the schema (``AttributeSchema.to_config``). columns: see ``PreparedFaces``.
    model: arguments of ``Fader`` but the attributes. precision: "bf16" is "no" where the hardware
    has none. mirror: what follows the Fader's training, see ``train.mirror``. judge: of edits, for
    ``train.evaluate``.
    """

    attributes: list[dict[str, Any]]
    columns: dict[str, str] = field(default_factory=dict)
    model: dict[str, int] = field(default_factory=dict)
    precision: Literal["no", "bf16"] = "no"
    fader: FaderSettings = field(default_factory=FaderSettings)
    mirror: MirrorSettings = field(default_factory=MirrorSettings)
    estimator: EstimatorSettings = field(default_factory=EstimatorSettings)
    judge: EstimatorSettings = field(default_factory=EstimatorSettings)

    @classmethod
    def read(cls, path: Path) -> Config:
        content = read_settings(path)
        try:
            return cls.of(content)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    @classmethod
    def of(cls, content: Any) -> Config:
        """The configuration that nested mappings hold. Raises ConfigError."""
        return build(cls, content)

    def claim(self, folder: Path) -> None:
        """Writes the configuration into a new run's folder; refuses a folder of another run."""
        copy = folder / "config.yaml"
        mine = yaml.safe_dump(dataclasses.asdict(self), sort_keys=False)
        begun = any(folder.glob(f"*/{CHECKPOINT}"))
        if begun and copy.exists() and copy.read_text() != mine:
            raise ConfigError(
                f"{folder} belongs to a run with another configuration (see {copy}). Choose "
                "another --out, or restore that configuration to go on with it."
            )
        folder.mkdir(parents=True, exist_ok=True)
        copy.write_text(mine)

    @property
    def mixed_precision(self) -> str:
        """``precision``, as this machine has it: emulated, bf16 would be many times slower."""
        return self.precision if _has_bf16() else "no"

    def faces(self, folder: Path, split: str) -> PreparedFaces:
        """A split of prepared faces, as the model takes them. Raises DatasetError."""
        schema = AttributeSchema.from_config(self.attributes)
        return PreparedFaces(folder, split, schema, self.columns, self.new_fader().image_size)

    def new_fader(self) -> Fader:
        return Fader(self.attributes, **self.model)

    def new_estimator(self) -> AttributeEstimator:
        return AttributeEstimator(self.attributes, image_size=self.new_fader().image_size)


def _has_bf16() -> bool:
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def read_settings(path: Path) -> Any:
    """What a YAML file says, over the file that its ``base`` names, if any. Raises ConfigError."""
    content = _read_yaml(path)
    if isinstance(content, Mapping) and "base" in content:
        change = {name: value for name, value in content.items() if name != "base"}
        return merged(_read_yaml(path.parent / str(content["base"])), change)
    return content


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from error


def merged(base: Any, change: Any) -> Any:
    """Nested mappings, ``change`` over ``base``."""
    if not isinstance(base, Mapping) or not isinstance(change, Mapping):
        return change
    return {**base, **{key: merged(base.get(key), value) for key, value in change.items()}}


def build(cls: Any, content: Any, where: str = "") -> Any:
    """A settings dataclass from nested mappings; unknown names and wrong types are errors."""
    if not isinstance(content, Mapping):
        raise ConfigError(f"{where or 'the file'} must hold settings, not {content!r}.")
    types = typing.get_type_hints(cls)
    values = {}
    for name, value in content.items():
        path = f"{where}.{name}" if where else str(name)
        if name not in types:
            raise ConfigError(f"unknown setting {path!r}; known here: {', '.join(types)}.")
        values[name] = _setting(types[name], value, path)
    try:
        return cls(**values)
    except TypeError as error:
        raise ConfigError(f"{where or 'the file'}: {error}") from None


def _setting(wanted: Any, value: Any, path: str) -> Any:
    if wanted is Any:
        return value
    if dataclasses.is_dataclass(wanted):
        return build(wanted, value, path)
    origin, options = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is Literal:
        if value not in options:
            raise ConfigError(f"{path} must be one of {', '.join(map(str, options))}.")
        return value
    if wanted is float and isinstance(value, int | float | str):
        try:
            return float(value)  # YAML reads 1e-4 as a string
        except ValueError:
            raise ConfigError(f"{path} must be a number, not {value!r}.") from None
    if origin is dict and isinstance(value, Mapping):
        return {key: _setting(options[1], entry, f"{path}.{key}") for key, entry in value.items()}
    if origin is tuple and isinstance(value, list) and len(value) == len(options):
        return tuple(
            _setting(kind, entry, path) for kind, entry in zip(options, value, strict=True)
        )
    if not isinstance(value, origin or wanted) or isinstance(value, bool) != (wanted is bool):
        raise ConfigError(f"{path} must be of type {(origin or wanted).__name__}, not {value!r}.")
    return value
