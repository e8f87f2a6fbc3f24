"""Visitors' files: kept as long as they are needed, and gone with the app."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from fader_demo.ui import temporary
from fader_demo.ui.temporary import sweep, temporary_folder


def file(path: Path, age: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a photo")
    then = time.time() - age
    os.utime(path, (then, then))
    os.utime(path.parent, (then, then))
    return path


def test_old_files_go_and_young_ones_stay(tmp_path: Path) -> None:
    old = file(tmp_path / "a" / "old.jpg", 400)
    young = file(tmp_path / "b" / "young.jpg", 10)
    sweep(tmp_path, 300)
    assert not old.exists() and young.exists()


def test_folders_go_once_they_are_empty_and_old(tmp_path: Path) -> None:
    file(tmp_path / "a" / "old.jpg", 400)
    (tmp_path / "just-made").mkdir()
    sweep(tmp_path, 300)
    sweep(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = file(tmp_path / "elsewhere" / "kept.jpg", 400)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(elsewhere.parent)
    sweep(inside, -1)
    assert elsewhere.exists() and not (inside / "link").is_symlink()


def test_the_folder_is_gradios_is_swept_and_goes_with_the_app(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "parent"))
    monkeypatch.setattr(temporary, "SWEPT_EVERY", 0.05)
    with temporary_folder() as folder:
        assert os.environ["GRADIO_TEMP_DIR"] == str(folder)
        assert folder.parent == tmp_path / "parent"
        assert folder.stat().st_mode & 0o077 == 0
        old = file(folder / "upload" / "old.jpg", 400)
        deadline = time.monotonic() + 10
        while old.exists():
            assert time.monotonic() < deadline, "never swept"
            time.sleep(0.05)
        file(folder / "upload" / "young.jpg", 0)
    assert not folder.exists()
