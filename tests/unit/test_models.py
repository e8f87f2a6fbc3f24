from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fader_demo import Editor, ModelError, pretrained
from fader_demo.card import ModelCard
from fader_demo.models import Models, find_models


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that are loaded from now on, in their order."""
    loaded: list[str] = []
    load = Editor.from_pretrained

    def recorded(source: str | Path) -> Editor:
        loaded.append(str(source))
        return load(source)

    monkeypatch.setattr(Editor, "from_pretrained", recorded)
    return loaded


@pytest.fixture
def broken_folder(tiny_model_folder: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "broken"
    shutil.copytree(tiny_model_folder, folder)
    (folder / "model.safetensors").write_bytes(b"nothing")
    return folder


def test_every_folder_of_the_assets_with_a_configuration_is_a_model(tmp_path: Path) -> None:
    for name in ("hands", "faces", "faces/estimator"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / name / "config.json").touch()
    (tmp_path / "examples").mkdir()
    expected = {"faces": tmp_path / "faces", "hands": tmp_path / "hands"}
    assert find_models(tmp_path, None) == expected
    assert find_models(tmp_path, "") == expected
    assert list(find_models(tmp_path, None)) == ["faces", "hands"]


def test_named_models_are_called_by_the_last_part_of_their_source(tmp_path: Path) -> None:
    named = " runs/new/ , someone/faces,other/faces, runs/new/,"
    found = find_models(tmp_path, named)
    assert found == {"new": "runs/new/", "faces": "someone/faces", "faces-2": "other/faces"}
    assert list(found) == ["new", "faces", "faces-2"]


def test_a_number_that_makes_a_name_unique_does_not_take_another_models_name(
    tmp_path: Path,
) -> None:
    found = find_models(tmp_path, "a/faces,a/faces-2,b/faces")
    assert list(found) == ["faces", "faces-2", "faces-3"]


def test_only_the_first_model_is_loaded_at_the_start(
    tiny_model_folder: Path, loads: list[str]
) -> None:
    offered = Models({"first": tiny_model_folder, "second": str(tiny_model_folder)})
    assert offered.names == ("first", "second") and offered.first == "first"
    assert len(loads) == 1
    assert offered.editor("second") is offered.editor("second")
    assert offered.editor("second") is not offered.editor("first")
    assert len(loads) == 2


def test_the_card_comes_from_the_models_folder(tiny_model_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model_folder, folder)
    (folder / "README.md").write_text("Known for its smile.")
    offered = Models({"first": folder})
    assert offered.card("first").text == "Known for its smile."
    assert offered.card("first").schema == offered.editor("first").schema


def test_the_card_of_a_fetched_model_is_read_where_it_was_fetched_to(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetched(source: str, **options: object) -> str:
        assert source == "someone/faces"
        return str(tiny_model_folder)

    monkeypatch.setattr(pretrained, "snapshot_download", fetched)
    offered = Models(find_models(tiny_model_folder, "someone/faces"))
    known = offered.card("faces")
    assert known == ModelCard.read(tiny_model_folder, offered.editor("faces").schema)
    assert known.text


def test_a_broken_first_model_is_known_at_the_start(broken_folder: Path) -> None:
    with pytest.raises(ModelError, match="safetensors"):
        Models({"broken": broken_folder})


def test_no_model_at_all_is_an_error() -> None:
    with pytest.raises(ModelError, match="no model"):
        Models({})


def test_a_broken_second_model_fails_when_it_is_chosen_and_not_before(
    tiny_model_folder: Path, broken_folder: Path
) -> None:
    offered = Models({"fine": tiny_model_folder, "broken": broken_folder})
    for ask in (offered.editor, offered.card):
        with pytest.raises(ModelError, match="broken cannot be loaded") as failure:
            ask("broken")
        assert str(broken_folder) not in str(failure.value)
    assert offered.editor("fine").schema
    shutil.copy(tiny_model_folder / "model.safetensors", broken_folder)
    assert offered.editor("broken").schema


def test_an_unknown_model_is_an_error_that_names_the_known_ones(tiny_model_folder: Path) -> None:
    offered = Models({"fine": tiny_model_folder})
    with pytest.raises(ModelError, match=r"no model 'x'.*fine"):
        offered.editor("x")


def test_threads_that_ask_together_share_one_load(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = Models(dict.fromkeys(("first", "second", "third"), tiny_model_folder))
    editor = offered.editor("first")
    running, most, loaded = 0, 0, 0

    def slow_load(source: str | Path) -> Editor:
        nonlocal running, most, loaded
        running, loaded = running + 1, loaded + 1
        most = max(most, running)
        time.sleep(0.05)
        running -= 1
        return editor

    monkeypatch.setattr(Editor, "from_pretrained", slow_load)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(offered.editor, ["second", "third"] * 8))
    assert (loaded, most) == (2, 1)


def test_who_asks_for_a_loaded_model_does_not_wait_for_another_that_loads(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = Models({"first": tiny_model_folder, "second": tiny_model_folder})
    editor = offered.editor("first")
    started, finish = threading.Event(), threading.Event()

    def blocked_load(source: str | Path) -> Editor:
        started.set()
        assert finish.wait(10)
        return editor

    monkeypatch.setattr(Editor, "from_pretrained", blocked_load)
    with ThreadPoolExecutor(2) as pool:
        loading = pool.submit(offered.editor, "second")
        assert started.wait(10)
        assert pool.submit(offered.editor, "first").result(timeout=5) is editor
        finish.set()
        assert loading.result(timeout=5) is editor
