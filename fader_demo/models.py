"""The models that an app offers, by name. All but the first are loaded when first asked for."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from fader_demo.card import ModelCard
from fader_demo.editor import Editor
from fader_demo.pretrained import CONFIG_FILE, ModelError, model_folder

_logger = logging.getLogger(__name__)


def find_models(assets: Path, named: str | None) -> dict[str, str | Path]:
    """Name -> folder or Hub id of every model to offer, in the order to offer them.

    named: folders and Hub ids, separated by commas. Without any, every folder of ``assets`` that
    holds a config.json is a model. A model's name is the last part of its folder or id; where two
    share one, the later is numbered.
    """
    sources: list[str | Path]
    if named:
        sources = [source.strip() for source in named.split(",") if source.strip()]
    else:
        sources = sorted(config.parent for config in assets.glob(f"*/{CONFIG_FILE}"))
    models: dict[str, str | Path] = {}
    for source in dict.fromkeys(sources):
        models[_unused(Path(source).absolute().name, models)] = source
    return models


def _unused(name: str, taken: Collection[str]) -> str:
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return next(n for n in itertools.chain([name], numbered) if n not in taken)


@dataclass(frozen=True)
class _Loaded:
    editor: Editor
    card: ModelCard


class Models:
    """Editors and cards by the name of their model, kept once loaded.

    The first is loaded at once, so that one that is broken is known at the start: ModelError says
    what is wrong with it. Any number of threads may share this; one model is loaded at a time, and
    who asks for one that is loaded already does not wait.
    """

    def __init__(self, sources: Mapping[str, str | Path]) -> None:
        if not sources:
            raise ModelError("There is no model: name a folder or a Hub id of one.")
        self._sources = dict(sources)
        self._loaded = {self.first: _load(self._sources[self.first])}
        self._loading = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._sources)

    @property
    def first(self) -> str:
        """The model that is open until another is chosen."""
        return self.names[0]

    def editor(self, name: str) -> Editor:
        """Raises ModelError, with a message for the visitor, if it is unknown or does not load."""
        return self._get(name).editor

    def card(self, name: str) -> ModelCard:
        """What is known about a model. Raises ModelError as ``editor`` does."""
        return self._get(name).card

    def _get(self, name: str) -> _Loaded:
        if name not in self._sources:
            raise ModelError(f"There is no model {name!r}; there is {', '.join(self.names)}.")
        if name not in self._loaded:
            with self._loading:
                if name not in self._loaded:  # another thread may have loaded it meanwhile
                    self._loaded[name] = self._load_later(name)
        return self._loaded[name]

    def _load_later(self, name: str) -> _Loaded:
        try:
            return _load(self._sources[name])
        except Exception as error:  # a stranger's model may fail in any way; the app goes on
            _logger.exception("The model %s does not load", name)
            raise ModelError(f"The model {name} cannot be loaded. Choose another.") from error


def _load(source: str | Path) -> _Loaded:
    folder = model_folder(source)
    editor = Editor.from_pretrained(folder)
    return _Loaded(editor, ModelCard.read(folder, editor.schema))
